/**
 * The audit trail on disk: JSON lines in `audit.log`, the newest at its end, and in `audit.1.log` … the older ones. Files
 * of their own, so that they outlive the store, cost no memory, and can be read by other programs; mode 0600. A line is
 * handed to the kernel before the request is answered for good, and is on the disk a moment later.
 */
import { chmodSync, closeSync, fdatasync, fstatSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import type { AuditEntry } from "@innkeeper/contract/resource/audit.ts";

/** Together about a million requests. */
const fileMaxBytes = 64 * 1024 * 1024;
const filesMax = 8;
const chunkBytes = 256 * 1024;

interface AuditLogOptions {
  readonly fileMaxBytes?: number;
}

export class AuditLog implements Disposable {
  readonly #folder: string;
  readonly #fileMaxBytes: number;
  #descriptor: number;
  #sizeBytes: number;
  #syncing = false;
  #closed = false;
  #written = 0;

  constructor(folder: string, options: AuditLogOptions = {}) {
    this.#folder = folder;
    this.#fileMaxBytes = options.fileMaxBytes ?? fileMaxBytes;
    this.#descriptor = this.#open();
    this.#sizeBytes = fstatSync(this.#descriptor).size;
  }

  /** Adds an entry, with an id of its own. Throws what the file system says. */
  append(entry: Omit<AuditEntry, "id">): void {
    if (this.#closed) return;
    if (this.#sizeBytes >= this.#fileMaxBytes) this.#rotate();
    const id = `${Date.parse(entry.time).toString(36)}-${(this.#written++).toString(36)}-${process.pid.toString(36)}`;
    const line = Buffer.from(`${JSON.stringify({ id, ...entry })}\n`);
    this.#sizeBytes += writeSync(this.#descriptor, line);
    this.#sync();
  }

  /** Newest first. A line that can't be read (a crash cut it off) is left out. */
  async *entries(signal: AbortSignal): AsyncGenerator<AuditEntry> {
    const seen = new Set<number>();
    for (let number = 0; number < filesMax; number++) {
      for await (const line of linesBackwards(this.#file(number), seen)) {
        signal.throwIfAborted();
        const entry = parsed(line);
        if (entry !== undefined) yield entry;
      }
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#descriptor);
  }

  #file(number: number): string {
    return path.join(this.#folder, number === 0 ? "audit.log" : `audit.${number}.log`);
  }

  #open(): number {
    const file = this.#file(0);
    const descriptor = openSync(file, "a", 0o600);
    chmodSync(file, 0o600);
    // After a crash in the middle of a line the next one begins anew.
    const { size } = fstatSync(descriptor);
    if (size > 0) writeSync(descriptor, "\n");
    return descriptor;
  }

  #rotate(): void {
    rmSync(this.#file(filesMax - 1), { force: true });
    for (let number = filesMax - 2; number >= 0; number--) {
      try {
        renameSync(this.#file(number), this.#file(number + 1));
      } catch {
        // There is no such one yet.
      }
    }
    closeSync(this.#descriptor);
    this.#descriptor = this.#open();
    this.#sizeBytes = 0;
  }

  /** At most one at a time; what came meanwhile is taken by the next. */
  #sync(): void {
    if (this.#syncing) return;
    this.#syncing = true;
    const written = this.#written;
    fdatasync(this.#descriptor, () => {
      this.#syncing = false;
      if (!this.#closed && this.#written !== written) this.#sync();
    });
  }
}

function parsed(line: string): AuditEntry | undefined {
  try {
    return JSON.parse(line) as AuditEntry;
  } catch {
    return undefined;
  }
}

/** The lines of a file from its end; none if there is no such file, or it was read under the name that it had before. */
async function* linesBackwards(file: string, seen: Set<number>): AsyncGenerator<string> {
  const handle = await open(file, "r").catch(() => undefined);
  if (handle === undefined) return;
  try {
    const { ino, size } = await handle.stat();
    if (seen.has(ino)) return;
    seen.add(ino);
    let end = size;
    let rest = Buffer.alloc(0);
    while (end > 0) {
      const length = Math.min(chunkBytes, end);
      const chunk = Buffer.alloc(length);
      await handle.read(chunk, 0, length, end - length);
      end -= length;
      const bytes = Buffer.concat([chunk, rest]);
      // What stands before the first line's end may have begun in an earlier chunk.
      const newline = bytes.indexOf(0x0a);
      const first = end === 0 ? 0 : newline === -1 ? bytes.length : newline + 1;
      rest = bytes.subarray(0, first);
      const lines = bytes.subarray(first).toString("utf8").split("\n");
      for (const line of lines.toReversed()) if (line !== "") yield line;
    }
  } finally {
    await handle.close();
  }
}
