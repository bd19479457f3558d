/**
 * A folder of VMs: a path of names, such as `Production/Web`, on the VM itself. It is shown to people and written into XML,
 * so it has no control characters, and none that change the direction of writing.
 */
import { Type } from "typebox";
import { controls, directions } from "./name.ts";

const folderMaxCharacters = 500;
const never = `${controls}${directions}/`;
const part = `[^\\s${never}]([^${never}]*[^\\s${never}])?`;

/** `checkFolder` says what is wrong in words, and checks what a pattern can't. */
export const Folder = Type.String({
  minLength: 1,
  maxLength: folderMaxCharacters,
  pattern: `^${part}(/${part})*$`,
  description: "folder that it is shown in, a path such as Production/Web",
});

const neverPattern = new RegExp(`[${controls}${directions}]`);

/** What is wrong with a folder, as the end of a sentence that starts with the field's name; undefined if it is fine. */
export function checkFolder(folder: string): string | undefined {
  if (folder.length === 0) return "must not be empty";
  if (neverPattern.test(folder))
    return "must not have control characters, or such that change the direction of writing";
  // What XML 1.0 §2.2 has no way to hold.
  if (/[\ud800-\udfff\ufffe\uffff]/u.test(folder)) return "must be valid Unicode";
  if (folder.length > folderMaxCharacters) return `must have at most ${folderMaxCharacters} characters`;
  for (const name of folder.split("/")) {
    if (name === "") return "must not begin or end with a slash, or have two in a row";
    if (name !== name.trim()) return "must have no white space at the beginning or end of a part";
    if (name === "." || name === "..") return `must not have the part ${JSON.stringify(name)}`;
  }
  return undefined;
}
