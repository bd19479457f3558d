/**
 * Brings a backup back: unpacked beside the present state, opened and checked there, made ready to meet a world that went
 * on, and only then put in the place of the present state, which is kept. Never while a server runs on it.
 */
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { AppError } from "#core/app-error.ts";
import { isErrno } from "#core/durable-file.ts";
import { readSecretBox, type SecretBox } from "#core/secret-box.ts";
import { stateLayout, storeFileName } from "#core/state-layout.ts";
import { systemClock } from "#core/system-clock.ts";
import { type BackupHead, openBackup } from "#management/backup/backup-file.ts";
import type { KeyMaterial } from "#management/backup/backup-key.ts";
import { checkKey } from "#management/recover/key-check.ts";
import { prepareForRecheck } from "#management/recover/recheck.ts";
import type { Store } from "#store/port.ts";
import { openSqliteDatabase, openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { takeState } from "./open.ts";
import { replaceState, stageState } from "./replace.ts";
import { type StateCount, countState } from "./state-count.ts";
import { openOffline, type StoreUrl } from "./store-location.ts";
import { unpack } from "./unpack.ts";

export interface RestoreOptions {
  readonly stateFolder: string;
  /** Absent: the store goes into the state folder. */
  readonly store?: StoreUrl;
  readonly content: AsyncIterable<Uint8Array>;
  /** Asked for when the backup is encrypted with one. */
  readonly password: () => Promise<string>;
  /** Reads and checks all of it and changes nothing; may be done while a server runs. */
  readonly checkOnly: boolean;
}

interface RestoreReport {
  readonly head: BackupHead;
  readonly count: StateCount;
  /** Where what was there before is. */
  readonly aside: readonly string[];
}

export async function restoreState(options: RestoreOptions): Promise<RestoreReport> {
  const { stateFolder, checkOnly } = options;
  if (checkOnly) {
    const folder = await mkdtemp(path.join(tmpdir(), "inn-restore-"));
    return withFolder(folder, async () => ({ ...(await prepare(options, folder)), aside: [] }));
  }
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  using _lock = await takeState(stateFolder);
  const staged = await stageState(stateFolder);
  return withFolder(staged, async () => {
    const at = new Date();
    const report = await prepare(options, staged);
    const schema = options.store && (await replaceStore(options.store, staged, at));
    const folder = await replaceState(stateFolder, staged, at);
    return { ...report, aside: [schema, folder].filter((each) => each !== undefined) };
  });
}

/** In one transaction of the database; a crash between it and the folder's replacement is mended by doing it all again. */
async function replaceStore(store: StoreUrl, staged: string, at: Date): Promise<string | undefined> {
  const file = stateLayout(staged).store;
  await using target = await openOffline(store);
  const source = await openSqliteDatabase({ file });
  const schema = await target.replace(source.kysely, at).finally(() => source.close());
  await rm(file);
  return schema && `the schema ${schema} of ${target.title}`;
}

/** The folder is gone afterwards, whatever happens. */
async function withFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function prepare(options: RestoreOptions, folder: string): Promise<Omit<RestoreReport, "aside">> {
  const present = stateLayout(options.stateFolder);
  const { head, entries } = await openBackup(options.content, (kind) => keyMaterial(kind, options, present.key));
  const paths = await unpack(entries, folder);
  if (!paths.includes(storeFileName)) throw damaged("it holds no store");
  const layout = stateLayout(folder);
  // A backup that is sealed by the key file does not hold it.
  if (head.key.kind === "state") await copyFile(present.key, layout.key);
  const box = await readSecretBox(layout.key);
  if (box === undefined) throw damaged("it holds no key file");
  const ageSeconds = Math.max(0, (Date.now() - Date.parse(head.createdAt)) / 1000);
  await using store = await openSqliteStore({ file: layout.store, skipRevisions: skippedRevisions(ageSeconds) });
  if (!(await checkKey(store, box))) throw damaged("its key file is not the one of its store");
  const count = await countState(store);
  if (!options.checkOnly) await settle(store, head);
  return { head, count };
}

async function settle(store: Store, head: BackupHead): Promise<void> {
  const message = `The control plane was restored from a backup of ${head.createdAt}`;
  await prepareForRecheck(store, systemClock, { type: "system.restored", message });
  await forgetChanges(store);
}

/** Who watches, or lists what it knows, begins anew: what it saw since is not in this store. */
export async function forgetChanges(store: Store): Promise<void> {
  await store.prune({ changes: 0, events: Number.MAX_SAFE_INTEGER, tasks: Number.MAX_SAFE_INTEGER });
}

/** More than a busy control plane gives in that time, so that no revision is given twice. */
export function skippedRevisions(ageSeconds: number): number {
  return 1_000_000 + Math.ceil(ageSeconds) * 100;
}

async function keyMaterial(kind: KeyMaterial["kind"], options: RestoreOptions, keyFile: string): Promise<KeyMaterial> {
  if (kind === "password") return { kind, password: await options.password() };
  const box: SecretBox | undefined = await readSecretBox(keyFile);
  if (box !== undefined) return { kind, box };
  throw new AppError("not_found", `This backup is opened by the key file of its state, and there is no ${keyFile}.`, {
    remedy: "Put secret.key back there, or restore a backup that was made with a password.",
  });
}

function damaged(what: string): AppError {
  return new AppError("invalid_field", `The backup can't be used: ${what}. Nothing was restored.`, { field: "file" });
}

/** A refusal of the operating system, in the words of an AppError; others as they are. */
export function asAppError(error: unknown, folder: string): unknown {
  if (error instanceof AppError || !(error instanceof Error)) return error;
  if (isErrno(error, "ENOSPC")) {
    return new AppError("disk_full", `No space is left for ${folder}. The state is as it was.`, { cause: error });
  }
  if ("code" in error && "syscall" in error) {
    return new AppError("store_unavailable", `${folder} can't be used: ${error.message}.`, { cause: error });
  }
  return error;
}
