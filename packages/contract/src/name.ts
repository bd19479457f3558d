/**
 * What a name may be. Names are shown to people, so all scripts are welcome; they reach hosts, files and XML, so
 * control characters, slashes, and leading or trailing white space are not. libvirt refuses `/` and newlines in a
 * domain's name (libvirt 9.0 virDomainDefPostParse); file names are limited to 255 bytes (ext4, xfs).
 */
import { Type } from "typebox";

export const nameMaxCharacters = 200;
/** Room is left in a file name's 255 bytes for suffixes such as `-snap-….qcow2`. */
export const nameMaxBytes = 200;

const namePattern = "^[^\\s\\u0000-\\u001f\\u007f/\\\\<>&\"'`.-][^\\u0000-\\u001f\\u007f/\\\\<>&\"'`]*$";

/** Schema of a name of a resource; `checkName` says what is wrong in words and checks what a pattern can't. */
export const Name = Type.String({ minLength: 1, maxLength: nameMaxCharacters, pattern: namePattern });

/** What is wrong with a name, as the end of a sentence that starts with the field's name; undefined if it is fine. */
export function checkName(name: string): string | undefined {
  if (name.length === 0) return "must not be empty";
  if (name !== name.trim()) return "must not begin or end with white space";
  if (/^[.-]/.test(name)) return "must not begin with a dot or a hyphen";
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(name)) return "must not have control characters";
  if (/[/\\<>&"'`]/.test(name)) return "must not have any of / \\ < > & \" ' `";
  if (/[\ud800-\udfff]/u.test(name)) return "must be valid Unicode";
  if ([...name].length > nameMaxCharacters) return `must have at most ${nameMaxCharacters} characters`;
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > nameMaxBytes) return `must have at most ${nameMaxBytes} bytes in UTF-8 (it has ${bytes})`;
  return undefined;
}
