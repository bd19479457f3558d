/** The files of a state as a backup has them: a copy of the store in the store's place, the rest as it lies there. */
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { AppError } from "#core/app-error.ts";
import { isOfState, keyFileName, storeFileName } from "#core/state-layout.ts";
import { type ArchiveEntry, isArchivePath } from "./archive.ts";

/** Keys and certificates: nothing else of a state is larger, but for the store. */
const fileMaxBytes = 1024 * 1024;

/** `withKey`: with secret.key, which a backup that is sealed by it need not hold. */
export async function* stateFiles(
  folder: string,
  storeCopy: string,
  options: { readonly withKey: boolean },
): AsyncGenerator<ArchiveEntry> {
  const { size } = await stat(storeCopy);
  yield { path: storeFileName, mode: 0o600, sizeBytes: size, content: createReadStream(storeCopy) };
  for (const name of (await readdir(folder)).filter(isOfState)) {
    // The store's own files, and those that are being written (core/durable-file.ts).
    if (name.startsWith(storeFileName) || (name === keyFileName && !options.withKey)) continue;
    yield* filesBelow(folder, name);
  }
}

async function* filesBelow(folder: string, relative: string): AsyncGenerator<ArchiveEntry> {
  if (relative.endsWith(".tmp") || !isArchivePath(relative)) return;
  const file = path.join(folder, relative);
  const found = await stat(file);
  if (found.isDirectory()) {
    for (const name of await readdir(file)) yield* filesBelow(folder, `${relative}/${name}`);
  }
  if (!found.isFile()) return;
  if (found.size > fileMaxBytes) {
    throw new AppError("conflict", `${file} in the state folder is too large for a file of Innkeeper's.`, {
      remedy: "Move it out of the state folder.",
    });
  }
  const content = await readFile(file);
  yield { path: relative, mode: found.mode & 0o777, sizeBytes: content.length, content: once(content) };
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
