/**
 * Moves the store of an installation to another place, of either dialect, while no server runs. The new one is compared
 * with the old, by number of rows and content, before it counts; then the old one is put aside, so that nobody starts on it
 * by mistake. Killed at any moment and run again, it starts over, or finds that all is there and ends what was left.
 */
import { mkdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { AppError } from "#core/app-error.ts";
import { asidePrefix, type StateLayout, stateLayout, storeFileName } from "#core/state-layout.ts";
import type { OfflinePostgres } from "#store/postgres/offline.ts";
import { openSqliteDatabase, type SqliteDatabase } from "#store/sqlite/sqlite-store.ts";
import { contentOf, notEmpty, sameContent, type StoreContent } from "#store/transfer.ts";
import { hasStore, takeState } from "./open.ts";
import { stageState, syncFolder } from "./replace.ts";
import { openOffline, type StoreUrl } from "./store-location.ts";

interface MoveOptions {
  readonly stateFolder: string;
  /** Absent: the SQLite file of the state folder. */
  readonly from?: StoreUrl;
  readonly to?: StoreUrl;
  readonly onProgress: (message: string) => void;
}

interface MoveReport {
  /** As the new store has it. */
  readonly content: StoreContent;
  /** Where the old store is now. */
  readonly aside: string;
}

export async function moveStore(options: MoveOptions): Promise<MoveReport> {
  const { stateFolder, from, to } = options;
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  using _lock = await takeState(stateFolder);
  const layout = stateLayout(stateFolder);
  if (from === undefined && to !== undefined) return toPostgres(options, layout, to);
  if (from !== undefined && to === undefined) return toFolder(options, layout, from);
  if (from !== undefined && to !== undefined) return betweenPostgres(options, from, to);
  throw new AppError("bad_request", "The store is in the state folder already; nothing was changed.", { field: "to" });
}

async function toPostgres(options: MoveOptions, layout: StateLayout, to: StoreUrl): Promise<MoveReport> {
  if (!(await hasStore(layout))) {
    throw new AppError("not_found", `There is no store in ${layout.folder}; nothing was changed.`, {
      remedy: "Name the state folder with --state, or start a new one with `inn up --store postgres://…`.",
    });
  }
  await using target = await openOffline(to);
  const source = await openSqliteDatabase({ file: layout.store });
  let content: StoreContent;
  try {
    content = await fillUnlessDone(source, target, options);
  } finally {
    source.close();
  }
  return { content, aside: await putFileAside(layout) };
}

async function fillUnlessDone(
  source: SqliteDatabase,
  target: OfflinePostgres,
  options: MoveOptions,
): Promise<StoreContent> {
  const present = await target.content();
  if (present === undefined) return target.fill(source.kysely, progress(options));
  options.onProgress("comparing with what is there");
  if (sameContent(await contentOf(source.kysely), present)) return present;
  throw notEmpty(target.title, present);
}

async function toFolder(options: MoveOptions, layout: StateLayout, from: StoreUrl): Promise<MoveReport> {
  await using source = await openOffline(from);
  const content = await source.content();
  if (content === undefined) throw nothingThere(source);
  const present = await contentOfFile(layout.store);
  if (present !== undefined) {
    options.onProgress("comparing with what is there");
    if (!sameContent(content, present)) throw notEmpty(layout.store, present);
    return { content, aside: inDatabase(await source.retire(new Date())) };
  }
  const staged = await stageState(layout.folder);
  try {
    const file = path.join(staged, storeFileName);
    const accept = async (): Promise<void> => {
      await syncFolder(file);
      await rename(file, layout.store);
      await syncFolder(layout.folder);
    };
    const moved = await source.moveTo(file, new Date(), accept, progress(options));
    return { content: moved.content, aside: inDatabase(moved.aside) };
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

/** By way of a file, which is gone afterwards. */
async function betweenPostgres(options: MoveOptions, from: StoreUrl, to: StoreUrl): Promise<MoveReport> {
  await using source = await openOffline(from);
  await using target = await openOffline(to);
  const content = await source.content();
  if (content === undefined) throw nothingThere(source);
  const present = await target.content();
  if (present !== undefined) {
    if (!sameContent(content, present)) throw notEmpty(target.title, present);
    return { content, aside: inDatabase(await source.retire(new Date())) };
  }
  const staged = await stageState(options.stateFolder);
  try {
    const file = path.join(staged, storeFileName);
    const accept = async (): Promise<void> => {
      const between = await openSqliteDatabase({ file });
      await target.fill(between.kysely, progress(options)).finally(() => between.close());
    };
    const moved = await source.moveTo(file, new Date(), accept);
    return { content: moved.content, aside: inDatabase(moved.aside) };
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

async function contentOfFile(file: string): Promise<StoreContent | undefined> {
  const size = (await stat(file).catch(() => undefined))?.size ?? 0;
  if (size === 0) return undefined;
  const { kysely, close } = await openSqliteDatabase({ file });
  return contentOf(kysely).finally(close);
}

async function putFileAside({ folder, store }: StateLayout): Promise<string> {
  const aside = path.join(folder, `${asidePrefix}${new Date().toISOString().replaceAll(/[:.]/g, "-")}`);
  await mkdir(aside, { mode: 0o700 });
  await rename(store, path.join(aside, storeFileName));
  await syncFolder(aside);
  await syncFolder(folder);
  return path.join(aside, storeFileName);
}

function progress({ onProgress }: MoveOptions): (table: string) => void {
  return (table) => onProgress(table === "check" ? "comparing both" : `copying ${table}`);
}

function inDatabase(schema: string): string {
  return `the schema ${schema} of the old database`;
}

function nothingThere({ title }: OfflinePostgres): AppError {
  return new AppError("not_found", `There is no store in ${title}; nothing was changed.`, { field: "store" });
}
