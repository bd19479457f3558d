/**
 * Makes a sound state of one that is lost or damaged: what can be read of the old store, then of the newest backup that
 * can be opened, and the rest from the hosts. The new state is complete before it takes the old one's place, and the old
 * one is kept. Never while a server runs on it.
 */
import { createReadStream } from "node:fs";
import { mkdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { HostAdd } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "#core/app-error.ts";
import type { Logger } from "#core/log.ts";
import { openSecretBox, readSecretBox, type SecretBox } from "#core/secret-box.ts";
import { keyFileName, stateLayout, storeFileName } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import { passwordSpace } from "#management/access/user-service.ts";
import { automaticBackups } from "#management/backup/automatic-backup.ts";
import { openBackup } from "#management/backup/backup-file.ts";
import { type ImportOptions, importSalvage } from "#management/recover/import-salvage.ts";
import { rememberKey, sealedWith } from "#management/recover/key-check.ts";
import { prepareForRecheck } from "#management/recover/recheck.ts";
import type { Store } from "#store/port.ts";
import { type Salvage, salvageSqlite } from "#store/sqlite/salvage.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { hasStore, openTakenState, takeState } from "./open.ts";
import { rebuild, type RebuildReport } from "./rebuild.ts";
import { replaceState, stageState } from "./replace.ts";
import { forgetChanges, skippedRevisions } from "./restore.ts";
import { type StateCount, countState } from "./state-count.ts";
import { copyAllButStore, unpack } from "./unpack.ts";

export interface RecoverOptions {
  readonly stateFolder: string;
  /** Hosts besides those that can be read of the old store or a backup. */
  readonly hosts: readonly HostAdd[];
  /** Also when nothing is wrong with the state. */
  readonly force: boolean;
  readonly allowPlainTcp: boolean;
  readonly log: Logger;
  readonly onProgress: (message: string) => void;
  readonly signal: AbortSignal;
}

export interface RecoverReport extends RebuildReport {
  /** What was wrong. */
  readonly problem: string;
  /** Where documents came from besides the hosts: `the old store (… of it could not be read)`. */
  readonly sources: readonly string[];
  readonly keyIsNew: boolean;
  readonly count: StateCount;
  readonly aside: string | undefined;
}

export async function recoverState(options: RecoverOptions): Promise<RecoverReport> {
  const { stateFolder } = options;
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  using _lock = await takeState(stateFolder);
  const problem = await diagnose(stateFolder, options.force);
  const staged = await stageState(stateFolder);
  try {
    const report = await prepare(options, staged);
    options.signal.throwIfAborted();
    return { ...report, problem, aside: await replaceState(stateFolder, staged, new Date()) };
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

/** What is wrong; AppError if nothing is, or nothing that this could mend. */
async function diagnose(folder: string, force: boolean): Promise<string> {
  try {
    if (!(await hasStore(stateLayout(folder)))) return "There was no state.";
    await using state = await openTakenState(folder);
    const count = await countState(state.store);
    if (force) return `Nothing was wrong (${count.host} hosts, ${count.vm} VMs); it was rebuilt because of --force.`;
  } catch (error) {
    if (!(error instanceof AppError) || error.fault?.["schema"] !== undefined || error.retryable) throw error;
    return error.message;
  }
  throw new AppError("conflict", `Nothing is wrong with the state in ${folder}; nothing was changed.`, {
    remedy: "Start it with `inn up`. To rebuild it all the same, say --force.",
  });
}

async function prepare(options: RecoverOptions, staged: string): Promise<Omit<RecoverReport, "problem" | "aside">> {
  const { stateFolder, onProgress, log, signal } = options;
  const layout = stateLayout(stateFolder);
  const fresh = stateLayout(staged);
  await copyAllButStore(stateFolder, staged);
  const key = await readSecretBox(layout.key).catch(() => undefined);
  onProgress("reading what is left of the store");
  const old = await salvageIfPresent(layout.store, path.join(staged, ".salvage"));
  const keyFits = key !== undefined && (old === undefined || (sealedWith(old, key) ?? true));
  if (!keyFits) await rm(path.join(staged, keyFileName), { force: true });
  const backup = key === undefined || isComplete(old) ? undefined : await newestBackup(layout.backup, staged, key, log);
  const secretBox = await openSecretBox(fresh.key);
  const skip = Math.max(old?.revision ?? 0, backup?.salvage.revision ?? 0, Math.floor(Date.now() / 1000));
  await using store = await openSqliteStore({ file: fresh.store, skipRevisions: skip + skippedRevisions(0) });
  const sources = [...(await importOld(store, old, { keyFits })), ...(await importBackup(store, backup, old))];
  await prepareForRecheck(store, systemClock, {
    type: "system.recovered",
    message: "The control plane was recovered from a store that was lost or damaged",
  });
  const report = await rebuild({ ...options, store, secretBox, folder: staged, signal });
  await rememberKey(store, secretBox);
  await forgetChanges(store);
  const notes = [...report.notes, ...(await lockedOut(store))];
  return { ...report, notes, sources, keyIsNew: !keyFits, count: await countState(store) };
}

/** Passwords may have been on a damaged page. */
async function lockedOut(store: Store): Promise<string[]> {
  return store.transaction(async (transaction) => {
    const users = await transaction.list("user");
    for (const { id, role, disabled } of users) {
      const hash = await transaction.getPrivate(passwordSpace, id);
      if (role === "administrator" && !disabled && hash !== undefined) return [];
    }
    return users.length === 0 ? [] : ["no administrator's password is left: start it with `inn up --reset-admin`"];
  });
}

async function salvageIfPresent(file: string, scratch: string): Promise<Salvage | undefined> {
  const found = await stat(file).catch(() => undefined);
  return found === undefined || found.size === 0 ? undefined : salvageSqlite(file, scratch);
}

function isComplete(salvage: Salvage | undefined): boolean {
  return salvage !== undefined && salvage.faults.length === 0 && salvage.resources.length > 0;
}

interface FromBackup {
  readonly file: string;
  readonly salvage: Salvage;
}

/** Of the automatic ones, the newest that the key file opens and that is whole. */
async function newestBackup(
  folder: string,
  staged: string,
  box: SecretBox,
  log: Logger,
): Promise<FromBackup | undefined> {
  for (const { file } of await automaticBackups(folder, systemClock.now())) {
    const target = path.join(staged, ".backup");
    try {
      await mkdir(target);
      const { entries } = await openBackup(createReadStream(file), async () => ({ kind: "state", box }));
      await unpack(entries, target);
      return { file, salvage: await salvageSqlite(path.join(target, storeFileName), path.join(staged, ".salvage")) };
    } catch (error) {
      log.warn({ err: error, file }, "a backup could not be read");
    } finally {
      await rm(target, { recursive: true, force: true });
    }
  }
  return undefined;
}

async function importOld(store: Store, old: Salvage | undefined, options: ImportOptions): Promise<string[]> {
  if (old === undefined || old.resources.length === 0) return [];
  await importSalvage(store, old, options);
  return [isComplete(old) ? "the old store" : `the old store, as far as it could be read (${old.faults[0] ?? ""})`];
}

/**
 * What the old store did not give: hosts and what belongs to them; users and tokens only if it gave no user at all, for
 * one that was deleted since must not come back.
 */
async function importBackup(store: Store, backup: FromBackup | undefined, old: Salvage | undefined): Promise<string[]> {
  if (backup === undefined) return [];
  const hasUsers = old?.resources.some(({ kind }) => kind === "user") === true;
  const kinds = ["cluster", "host", "vm", "snapshot", "storage-pool", "network", "volume", "image"] as const;
  await importSalvage(store, backup.salvage, {
    keyFits: true,
    ...(hasUsers ? { kinds } : {}),
  });
  return [`the backup ${backup.file}`];
}
