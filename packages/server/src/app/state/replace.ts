/**
 * Puts a whole new state in the place of the present one, which is moved aside and kept. The decision is one rename:
 * a crash before it leaves the old state, a crash after it leaves what `finishReplace`, called by every program that
 * opens the folder, brings to its end. Invariant: nothing of the old state is deleted or overwritten.
 */
import { mkdir, mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { isErrno } from "#core/durable-file.ts";
import { asidePrefix, isOfState } from "#core/state-layout.ts";

const stagedPrefix = ".staged-";
/** Then the old state is being moved aside; its name ends with that of the folder it goes to. */
const decidedPrefix = ".replace-";
/** Then the new state is being moved in. */
const placingName = ".placing";

/** An empty folder on the same file system, for the new state; removed by the next `finishReplace` unless it was used. */
export async function stageState(folder: string): Promise<string> {
  return mkdtemp(path.join(folder, stagedPrefix));
}

/** The folder where the old state is now; undefined if there was none. `staged` must be complete, and is gone afterwards. */
export async function replaceState(folder: string, staged: string, at: Date): Promise<string | undefined> {
  await syncTree(staged);
  const asideName = await freeName(folder, `${asidePrefix}${at.toISOString().replaceAll(/[:.]/g, "-")}`);
  await rename(staged, path.join(folder, decidedPrefix + asideName));
  await syncFolder(folder);
  await finishReplace(folder);
  const aside = path.join(folder, asideName);
  if ((await names(aside)).length > 0) return aside;
  await rm(aside, { recursive: true, force: true });
  return undefined;
}

/** Ends a replacement that was interrupted, and removes what was staged and never used. Idempotent. */
export async function finishReplace(folder: string): Promise<void> {
  const found = await names(folder);
  for (const name of found) {
    if (name.startsWith(stagedPrefix)) await rm(path.join(folder, name), { recursive: true });
  }
  const decided = found.find((name) => name.startsWith(decidedPrefix));
  if (decided !== undefined) {
    const aside = path.join(folder, decided.slice(decidedPrefix.length));
    await mkdir(aside, { recursive: true, mode: 0o700 });
    for (const name of found.filter(isOfState)) await rename(path.join(folder, name), path.join(aside, name));
    await syncFolder(aside);
    await rename(path.join(folder, decided), path.join(folder, placingName));
    await syncFolder(folder);
  }
  const placing = path.join(folder, placingName);
  if (decided === undefined && !found.includes(placingName)) return;
  for (const name of await names(placing)) await rename(path.join(placing, name), path.join(folder, name));
  await rm(placing, { recursive: true });
  await syncFolder(folder);
}

async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

async function freeName(folder: string, wish: string): Promise<string> {
  const taken = new Set(await names(folder));
  for (let number = 1; ; number++) {
    const name = number === 1 ? wish : `${wish}-${number}`;
    if (!taken.has(name)) return name;
  }
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    await syncFolder(path.join(entry.parentPath, entry.name));
  }
  await syncFolder(folder);
}

/** fsync, of a file as of a folder. */
export async function syncFolder(target: string): Promise<void> {
  await using handle = await open(target, "r");
  await handle.sync();
}
