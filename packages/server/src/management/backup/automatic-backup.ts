/**
 * A backup a day without anybody's asking, beside the state or in a folder of choice; the oldest beyond a number are
 * removed, never before the new one is whole. One that is dated in the future, by a clock that was ahead then or is behind
 * now, says nothing of when it was made: it neither stands for today's nor takes a place from others. Without a password they are sealed by the state's key file: what lies
 * there gives nothing away, and a damaged store is brought back on the spot.
 */
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { newId } from "@innkeeper/contract/id.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { Store } from "#store/port.ts";
import type { BackupService } from "./backup-service.ts";

export interface AutomaticBackupOptions {
  readonly folder: string;
  /** So many are kept; 0: none are made. */
  readonly keep: number;
  readonly password?: string;
}

interface AutomaticBackupDeps {
  readonly backup: BackupService;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

interface BackupFile {
  readonly file: string;
  readonly atMs: number;
}

const intervalMs = 86_400_000;
const namePattern = /^auto-(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d)Z\.innbackup$/;

export class AutomaticBackup {
  readonly #deps: AutomaticBackupDeps;
  readonly #options: AutomaticBackupOptions;
  #failureToldAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: AutomaticBackupDeps, options: AutomaticBackupOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Makes one if the newest is a day old. An event tells how it went, unless it was aborted; it never throws. */
  async runIfDue(signal?: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    const { folder, keep } = this.#options;
    if (keep === 0) return;
    try {
      const { past, future } = await this.#present();
      if (past[0] !== undefined && clock.now() - past[0].atMs < intervalMs) return;
      const file = await this.#run(signal);
      log.info({ file }, "automatic backup made");
      const made = `The control plane's daily backup was made: ${file}`;
      if (future[0] === undefined) return await this.#tell("system.backup", "info", made);
      const odd = `${future[0].file} is dated in the future: the clock was ahead then, or is behind now`;
      await this.#tell("system.backup", "warning", `${made}; ${odd}`);
    } catch (error) {
      if (signal?.aborted === true) return;
      log.error({ err: error, folder }, "the automatic backup failed");
      const why = error instanceof Error ? error.message : String(error);
      // Tried again all the time, told once a day.
      if (clock.now() - this.#failureToldAtMs < intervalMs) return;
      this.#failureToldAtMs = clock.now();
      await this.#tell("system.backup-failed", "error", `The control plane's daily backup failed: ${why}`);
    }
  }

  async #run(signal: AbortSignal | undefined): Promise<string> {
    const { backup, clock } = this.#deps;
    const { folder, keep, password } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const name = `auto-${timestamp(clock)
      .replace(/\.\d+Z$/, "Z")
      .replaceAll(":", "-")}.innbackup`;
    const file = path.join(folder, name);
    await using running = await backup.create(password);
    try {
      const target = createWriteStream(`${file}.tmp`, { flags: "w", mode: 0o600 });
      await pipeline(running.content, target, signal === undefined ? {} : { signal });
      await sync(`${file}.tmp`);
      await rename(`${file}.tmp`, file);
      await sync(folder);
    } catch (error) {
      await rm(`${file}.tmp`, { force: true });
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
      throw new AppError("disk_full", `No space is left in ${folder} for the backup.`, { cause: error });
    }
    const { past, future } = await this.#present();
    for (const each of [...past.slice(keep), ...future.slice(keep)]) await rm(each.file);
    return file;
  }

  /** Each newest first. */
  async #present(): Promise<{ readonly past: readonly BackupFile[]; readonly future: readonly BackupFile[] }> {
    const now = this.#deps.clock.now();
    const all = await automaticBackups(this.#options.folder, now);
    return { past: all.filter(({ atMs }) => atMs <= now), future: all.filter(({ atMs }) => atMs > now) };
  }

  async #tell(type: string, severity: "info" | "warning" | "error", message: string): Promise<void> {
    const { store, clock, log } = this.#deps;
    const event = { id: newId("event"), time: timestamp(clock), type, severity, message, resources: [] };
    await store
      .transaction((transaction) => transaction.put("event", event))
      .catch((error: unknown) => log.warn({ err: error }, "an event could not be stored"));
  }
}

/** Those in a folder, newest first, but what is dated in the future last; none if there is no such folder. */
export async function automaticBackups(folder: string, nowMs: number): Promise<BackupFile[]> {
  const names = await readdir(folder).catch(() => []);
  const found = names.flatMap((name) => {
    const [, hour, minute, second] = namePattern.exec(name) ?? [];
    if (hour === undefined) return [];
    return [{ file: path.join(folder, name), atMs: Date.parse(`${hour}:${minute}:${second}Z`) }];
  });
  return found.toSorted((a, b) => Number(a.atMs > nowMs) - Number(b.atMs > nowMs) || b.atMs - a.atMs);
}

async function sync(target: string): Promise<void> {
  await using handle = await open(target, "r");
  await handle.sync();
}
