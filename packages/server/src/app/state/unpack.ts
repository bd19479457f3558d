/** The files of a state into an empty folder: from a backup, or copied from where they lie. */
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, readdir, stat } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { AppError } from "#core/app-error.ts";
import { isErrno } from "#core/durable-file.ts";
import { isOfState, storeFileName } from "#core/state-layout.ts";
import type { ArchiveEntry } from "#management/backup/archive.ts";

/** Relative paths. What is on the disk is checked by who reads it. */
export async function unpack(entries: AsyncIterable<ArchiveEntry>, folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path: relative, mode, content } of entries) {
    const file = path.join(folder, relative);
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    await pipeline(content, createWriteStream(file, { flags: "wx", mode })).catch((error: unknown) => {
      throw isErrno(error, "ENOSPC") ? noSpace(folder, error) : error;
    });
    paths.push(relative);
  }
  return paths;
}

/** Everything of a state but its store: keys, certificates, whatever an administrator put there. */
export async function copyAllButStore(from: string, to: string): Promise<void> {
  for (const name of (await readdir(from)).filter(isOfState)) {
    if (!name.startsWith(storeFileName)) await copyTree(path.join(from, name), path.join(to, name));
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  const found = await stat(from);
  if (found.isFile()) {
    await copyFile(from, to).catch((error: unknown) => {
      throw isErrno(error, "ENOSPC") ? noSpace(path.dirname(to), error) : error;
    });
  }
  if (!found.isDirectory()) return;
  await mkdir(to, { recursive: true, mode: found.mode & 0o777 });
  for (const name of await readdir(from)) await copyTree(path.join(from, name), path.join(to, name));
}

function noSpace(folder: string, cause: unknown): AppError {
  return new AppError("disk_full", `No space is left in ${path.dirname(folder)}. The state is as it was.`, {
    remedy: "Free space there, then try again.",
    cause,
  });
}
