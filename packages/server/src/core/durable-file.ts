/**
 * Files that appear whole or not at all, and are on the disk when the call returns (fsync of the file, then of its
 * folder). A reader or a crash at any instant sees the old content or the new, never a part.
 */
import { randomBytes } from "node:crypto";
import { link, open, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";

/** The file's text, or undefined if there is no such file. */
export async function readFileIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Replaces the file, or makes it. */
export async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  await place(file, text, mode, (temporary) => rename(temporary, file));
}

/** Makes the file unless another process was first: false then, and that other's file stands. */
export async function createFile(file: string, text: string, mode: number): Promise<boolean> {
  try {
    await place(file, text, mode, (temporary) => link(temporary, file));
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
}

async function place(
  file: string,
  text: string,
  mode: number,
  put: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await writeSynced(temporary, text, mode);
    await put(temporary);
  } finally {
    await rm(temporary, { force: true });
  }
  await using folder = await open(path.dirname(file), "r");
  await folder.sync();
}

async function writeSynced(file: string, text: string, mode: number): Promise<void> {
  await using handle = await open(file, "wx", mode);
  await handle.chmod(mode);
  await handle.writeFile(text);
  await handle.sync();
}

/** Whether the operating system refused with this code. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
