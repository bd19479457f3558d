/**
 * A backup a day without anybody's asking, beside the state or in a folder of choice; the oldest beyond a number are
 * removed, never before the new one is whole. Without a password they are sealed by the state's key file: what lies
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

  /** Makes one if the newest is a day old. An event tells how it went; it never throws. */
  async runIfDue(): Promise<void> {
    const { clock, log } = this.#deps;
    const { folder, keep } = this.#options;
    if (keep === 0) return;
    try {
      const [newest] = await automaticBackups(folder);
      if (newest !== undefined && clock.now() - newest.atMs < intervalMs) return;
      const file = await this.#run();
      log.info({ file }, "automatic backup made");
      await this.#tell("system.backup", "info", `The control plane's daily backup was made: ${file}`);
    } catch (error) {
      log.error({ err: error, folder }, "the automatic backup failed");
      const why = error instanceof Error ? error.message : String(error);
      // Tried again all the time, told once a day.
      if (clock.now() - this.#failureToldAtMs < intervalMs) return;
      this.#failureToldAtMs = clock.now();
      await this.#tell("system.backup-failed", "error", `The control plane's daily backup failed: ${why}`);
    }
  }

  async #run(): Promise<string> {
    const { backup, clock } = this.#deps;
    const { folder, keep, password } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const name = `auto-${timestamp(clock)
      .replace(/\.\d+Z$/, "Z")
      .replaceAll(":", "-")}.innbackup`;
    const file = path.join(folder, name);
    await using running = await backup.create(password);
    try {
      await pipeline(running.content, createWriteStream(`${file}.tmp`, { flags: "w", mode: 0o600 }));
      await sync(`${file}.tmp`);
      await rename(`${file}.tmp`, file);
      await sync(folder);
    } catch (error) {
      await rm(`${file}.tmp`, { force: true });
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
      throw new AppError("disk_full", `No space is left in ${folder} for the backup.`, { cause: error });
    }
    const old = (await automaticBackups(folder)).slice(keep);
    for (const each of old) await rm(each.file);
    return file;
  }

  async #tell(type: string, severity: "info" | "error", message: string): Promise<void> {
    const { store, clock, log } = this.#deps;
    const event = { id: newId("event"), time: timestamp(clock), type, severity, message, resources: [] };
    await store
      .transaction((transaction) => transaction.put("event", event))
      .catch((error: unknown) => log.warn({ err: error }, "an event could not be stored"));
  }
}

/** Those in a folder, newest first; none if there is no such folder. */
export async function automaticBackups(folder: string): Promise<{ readonly file: string; readonly atMs: number }[]> {
  const names = await readdir(folder).catch(() => []);
  const found = names.flatMap((name) => {
    const [, hour, minute, second] = namePattern.exec(name) ?? [];
    if (hour === undefined) return [];
    return [{ file: path.join(folder, name), atMs: Date.parse(`${hour}:${minute}:${second}Z`) }];
  });
  return found.toSorted((a, b) => b.atMs - a.atMs);
}

async function sync(target: string): Promise<void> {
  await using handle = await open(target, "r");
  await handle.sync();
}
