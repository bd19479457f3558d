/** What SQLite's errors mean, by primary result code: https://sqlite.org/rescode.html */
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";

interface Meaning {
  readonly code: ErrorCode;
  readonly message: (file: string) => string;
  readonly remedy?: string;
  /** The same may succeed later; else it takes an administrator. */
  readonly retryable?: false;
}

const corrupted =
  "Leave the file as it is: `inn recover` moves it aside, keeps what can be read of it and rebuilds the rest from the hosts; `inn restore FILE` brings a backup back. Guests and their disks are not touched by this.";

const held: Meaning = {
  code: "store_unavailable",
  message: (file) => `Another process has the store ${file} open; nothing was changed.`,
  remedy: "Only one Innkeeper may run on one state folder: stop the other, or give this one a --state of its own.",
};
const damaged: Meaning = {
  code: "store_unavailable",
  message: (file) => `The store ${file} is corrupted.`,
  remedy: corrupted,
  retryable: false,
};
const access: Meaning = {
  code: "store_unavailable",
  message: (file) => `The store ${file} can't be opened for writing.`,
  remedy: "Check that its folder exists and that this user may write to it.",
};

const meaning: Readonly<Record<number, Meaning>> = {
  3: access, // SQLITE_PERM
  5: held, // SQLITE_BUSY
  6: held, // SQLITE_LOCKED
  8: access, // SQLITE_READONLY
  10: {
    code: "store_unavailable",
    message: (file) => `The disk under the store ${file} reports an error; the change was not made.`,
    remedy: "Check the disk and the kernel's log.",
  }, // SQLITE_IOERR
  11: damaged, // SQLITE_CORRUPT
  13: {
    code: "disk_full",
    message: (file) => `No space is left for the store ${file}; the change was not made.`,
    remedy: "Free space on the control plane's own disk.",
  }, // SQLITE_FULL
  14: access, // SQLITE_CANTOPEN
  26: damaged, // SQLITE_NOTADB
};

/** The AppError that an error of node:sqlite means; others as they are. */
export function translateSqliteError(error: unknown, file: string): unknown {
  const row = meaning[primaryCode(error) ?? 0];
  if (!hasCode(error) || row === undefined) return error;
  const words = row === damaged ? ` SQLite says: ${error.message}.` : "";
  return new AppError(row.code, row.message(file) + words, {
    ...(row.remedy === undefined ? {} : { remedy: row.remedy }),
    ...(row.retryable === undefined ? {} : { retryable: row.retryable }),
    fault: { sqliteCode: error.errcode, sqliteMessage: error.message },
    cause: error,
  });
}

/** Whether SQLite found that what it read is no sound database. */
export function isCorruption(error: unknown): boolean {
  return meaning[primaryCode(error) ?? 0] === damaged;
}

/** Whether no space was left. */
export function isFull(error: unknown): boolean {
  return primaryCode(error) === 13; // SQLITE_FULL
}

function primaryCode(error: unknown): number | undefined {
  return hasCode(error) ? error.errcode & 0xff : undefined; // the low byte
}

function hasCode(error: unknown): error is Error & { errcode: number } {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number";
}

/** `findings`: what is wrong with it, as a sentence without its point. */
export function corruptedStore(file: string, findings: string): AppError {
  return new AppError("store_unavailable", `${damaged.message(file)} ${findings}.`, {
    remedy: corrupted,
    retryable: false,
  });
}

export function foreignFile(file: string): AppError {
  return new AppError("store_unavailable", `${file} is a database of another program; nothing was changed.`, {
    remedy:
      "Give Innkeeper a --state folder of its own. If its store was overwritten: `inn recover` moves the file aside and rebuilds the store from the hosts; `inn restore FILE` brings a backup back.",
    retryable: false,
  });
}
