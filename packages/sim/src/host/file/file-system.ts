// A file system: folders and files by name, and how much room they take. Several hosts that mount one share it.
import { FileError } from "./file-error.ts";
import type { Owner, SimFile, Space } from "./file.ts";

export class Folder {
  readonly entries = new Map<string, Folder | SimFile>();
  owner: Owner;
  readonly changedMs: number;

  constructor(owner: Owner, nowMs: number) {
    this.owner = owner;
    this.changedMs = nowMs;
  }
}

export type Entry = Folder | SimFile;

export interface FileSystemOptions {
  readonly capacityBytes: number;
  /** What is on it besides the files that are known here. */
  readonly otherBytes?: number;
  readonly nowMs?: number;
}

const ROOT_OWNER: Owner = { mode: 0o755, uid: 0, gid: 0 };

export class FileSystem implements Space {
  readonly capacityBytes: number;
  readonly root: Folder;
  #otherBytes: number;
  #takenBytes = 0;

  constructor({ capacityBytes, otherBytes = 0, nowMs = 0 }: FileSystemOptions) {
    this.capacityBytes = capacityBytes;
    this.#otherBytes = otherBytes;
    this.root = new Folder(ROOT_OWNER, nowMs);
  }

  get availableBytes(): number {
    return Math.max(0, this.capacityBytes - this.#otherBytes - this.#takenBytes);
  }

  take(bytes: number): void {
    if (bytes > 0 && bytes > this.availableBytes) throw new FileError("ENOSPC");
    this.#takenBytes += bytes;
  }

  /** A fault: something else fills it, to so many free bytes. */
  fill(freeBytes: number): void {
    this.#otherBytes = Math.max(0, this.capacityBytes - this.#takenBytes - freeBytes);
  }

  /** Throws ENOENT, ENOTDIR. */
  get(names: readonly string[]): Entry {
    let at: Entry = this.root;
    for (const name of names) {
      if (!(at instanceof Folder)) throw new FileError("ENOTDIR");
      const next: Entry | undefined = at.entries.get(name);
      if (next === undefined) throw new FileError("ENOENT");
      at = next;
    }
    return at;
  }
}
