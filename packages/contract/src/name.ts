/**
 * What a name may be. Names are shown to people, so all scripts are welcome; they reach hosts, files and XML, so
 * control characters, slashes, and leading or trailing white space are not, nor what makes a name look like another one
 * (controls of direction, Unicode TR36 §2.4). libvirt refuses `/` and newlines in a domain's name (libvirt 9.0
 * virDomainDefPostParse); file names are limited to 255 bytes (ext4, xfs).
 */
import { Type } from "typebox";

export const nameMaxCharacters = 200;
/** Room is left in a file name's 255 bytes for suffixes such as `-snap-….qcow2`. */
export const nameMaxBytes = 200;

/** C0, DEL, C1, line and paragraph separators. */
export const controls = "\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029";
/** Unicode's Bidi_Control characters, and the byte order mark. */
export const directions = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff";
const never = `${controls}${directions}/\\\\<>&"'\``;
const namePattern = `^[^\\s${never}.-][^${never}]*$`;
const controlPattern = new RegExp(`[${controls}]`);
const directionPattern = new RegExp(`[${directions}]`);

/** Schema of a name of a resource; `checkName` says what is wrong in words and checks what a pattern can't. */
export const Name = Type.String({ minLength: 1, maxLength: nameMaxCharacters, pattern: namePattern });

/** What is wrong with a name, as the end of a sentence that starts with the field's name; undefined if it is fine. */
export function checkName(name: string): string | undefined {
  if (name.length === 0) return "must not be empty";
  if (name !== name.trim()) return "must not begin or end with white space";
  if (/^[.-]/.test(name)) return "must not begin with a dot or a hyphen";
  if (controlPattern.test(name)) return "must not have control characters";
  if (directionPattern.test(name)) return "must not have characters that change the direction of writing";
  if (/[/\\<>&"'`]/.test(name)) return "must not have any of / \\ < > & \" ' `";
  if (/[\ud800-\udfff]/u.test(name)) return "must be valid Unicode";
  if ([...name].length > nameMaxCharacters) return `must have at most ${nameMaxCharacters} characters`;
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > nameMaxBytes) return `must have at most ${nameMaxBytes} bytes in UTF-8 (it has ${bytes})`;
  return undefined;
}
