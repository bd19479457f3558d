/**
 * The lock of a state folder: held by the one process that serves, restores or recovers it, whatever state its store is
 * in. It is SQLite's lock on a file that stays empty, so the kernel drops it when the process ends, however it ends.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { AppError } from "#core/app-error.ts";
import { stateLayout } from "#core/state-layout.ts";

/** How long to wait for a process that is just ending to let go. */
const busyTimeoutMs = 3000;
const sqliteBusy = 5; // https://sqlite.org/rescode.html

/** store_unavailable, naming the process, while another one has it. */
export function lockState(folder: string): Disposable {
  const { lock: file } = stateLayout(folder);
  let database: DatabaseSync | undefined;
  try {
    // Made here for its mode. Never opened besides: closing any descriptor of a file drops all locks of the process on it.
    if (!existsSync(file)) closeSync(openSync(file, "a", 0o600));
    database = new DatabaseSync(file, { timeout: busyTimeoutMs });
    database.exec("pragma journal_mode = memory");
    database.exec("begin exclusive");
  } catch (error) {
    database?.close();
    throw refusal(folder, file, error);
  }
  return { [Symbol.dispose]: () => database.close() };
}

function refusal(folder: string, file: string, error: unknown): AppError {
  const { errcode, code } = error as { errcode?: number; code?: string };
  if (errcode !== undefined && (errcode & 0xff) === sqliteBusy) {
    const holder = holderOf(file);
    const who = holder === undefined ? "Another Innkeeper" : `Another Innkeeper (process ${holder})`;
    return new AppError("store_unavailable", `${who} uses the state folder ${folder}; nothing was changed.`, {
      remedy: "Stop it first, or give this one a --state folder of its own.",
      cause: error,
    });
  }
  const why = { EROFS: "its file system is read-only", EACCES: "this user may not", ENOSPC: "no space is left there" };
  const reason = why[code as keyof typeof why] ?? (error instanceof Error ? error.message : String(error));
  const full = code === "ENOSPC";
  return new AppError(full ? "disk_full" : "store_unavailable", `${file} can't be written: ${reason}.`, {
    remedy: full ? "Free space there." : "Check that the state folder is there and that this user may write to it.",
    cause: error,
  });
}

/** The process that holds the file's lock, by the kernel's list: `8: POSIX ADVISORY WRITE <pid> <major:minor:inode> …`. */
function holderOf(file: string): number | undefined {
  try {
    const { ino } = statSync(file);
    const line = readFileSync("/proc/locks", "utf8")
      .split("\n")
      .find((each) => new RegExp(`:${ino}\\s`).test(each) && /\bWRITE\b/.test(each));
    const pid = Number(/\bWRITE\s+(\d+)/.exec(line ?? "")?.[1]);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
