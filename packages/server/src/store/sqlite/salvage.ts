/**
 * What can still be read of a damaged store. Invariant: the file itself is never opened by SQLite, which might change it:
 * a copy is read, with its write-ahead log. Rows come from the trees alone, never from freed pages, so nothing that was
 * deleted comes back (a user above all); a resource whose row is lost comes from the change log. A damaged first page is replaced by that of a new store: the tables' places in
 * it are the same in every store of one schema (https://sqlite.org/fileformat.html §1.3, §2.6).
 */
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

interface SalvagedResource {
  readonly kind: string;
  readonly id: string;
  /** Parsed, unchecked. */
  readonly document: unknown;
}

export interface Salvage {
  readonly resources: readonly SalvagedResource[];
  readonly privates: readonly { readonly space: string; readonly key: string; readonly value: unknown }[];
  /** The highest that was seen. */
  readonly revision: number;
  /** What could not be read, in SQLite's words; empty if all was. */
  readonly faults: readonly string[];
}

/** `scratch`: a name that is free, for the copy; nothing of it is left. */
export async function salvageSqlite(file: string, scratch: string): Promise<Salvage> {
  const names = ["", "-wal", "-shm", "-journal"].map((suffix) => scratch + suffix);
  try {
    copyFileSync(file, scratch, constants.COPYFILE_EXCL);
    if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${scratch}-wal`);
    const asItIs = read(scratch);
    if (asItIs.resources.length > 0 || asItIs.privates.length > 0) return asItIs;
    await replaceFirstPage(scratch);
    const mended = read(scratch);
    return { ...mended, faults: [...asItIs.faults, ...mended.faults] };
  } finally {
    for (const name of names) rmSync(name, { force: true });
  }
}

function read(file: string): Salvage {
  const faults = new Set<string>();
  const note = (error: unknown): void => void faults.add(error instanceof Error ? error.message : String(error));
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec("pragma cell_size_check = on");
    const resources = readTable(database, "resource", ["kind", "id", "revision", "document"], note);
    const changes = readTable(database, "change", ["revision", "kind", "id", "operation", "document"], note);
    const privates = readTable(database, "private", ["space", "key", "value"], note);
    const counter = readTable(database, "counter", ["name", "value"], note);
    const revisions = [...resources.map((row) => row["revision"]), ...counter.map((row) => row["value"])];
    const quickFindings = quick(database, note);
    if (quickFindings !== undefined) faults.add(quickFindings);
    const all = [...resources, ...missing(resources, changes)];
    return {
      resources: all.flatMap((row) => parsed(row["document"], note).map((document) => ({ ...named(row), document }))),
      privates: privates.flatMap((row) =>
        parsed(row["value"], note).map((value) => ({ space: String(row["space"]), key: String(row["key"]), value })),
      ),
      revision: Math.max(0, ...revisions.map(Number).filter(Number.isSafeInteger)),
      faults: [...faults],
    };
  } catch (error) {
    note(error);
    return { resources: [], privates: [], revision: 0, faults: [...faults] };
  } finally {
    if (database?.isOpen === true) database.close();
  }
}

function named(row: Row): { kind: string; id: string } {
  return { kind: String(row["kind"]), id: String(row["id"]) };
}

/** These never come back by the change log: the entry that says they were deleted may be what was lost. */
const neverFromLog: ReadonlySet<unknown> = new Set(["user", "token"]);

/** Resources whose rows can't be read, as the change log has them last. */
function missing(resources: readonly Row[], changes: readonly Row[]): Row[] {
  const known = new Set(resources.map((row) => String(row["id"])));
  const last = new Map<string, Row>();
  for (const row of changes) {
    const before = last.get(String(row["id"]));
    if (Number(before?.["revision"] ?? -1) < Number(row["revision"])) last.set(String(row["id"]), row);
  }
  return [...last].flatMap(([id, row]) =>
    row["operation"] === "put" && !known.has(id) && !neverFromLog.has(row["kind"]) ? [row] : [],
  );
}

function quick(database: DatabaseSync, note: (error: unknown) => void): string | undefined {
  try {
    const text = database
      .prepare("pragma quick_check(1)")
      .all()
      .map((row) => String(Object.values(row)[0]))
      .join("; ");
    return text === "ok" ? undefined : text;
  } catch (error) {
    note(error);
    return undefined;
  }
}

type Row = Readonly<Record<string, unknown>>;

/** So many rows that can't be reached are passed over one by one; then the steps grow, for the rest may be gone. */
const singleStepsMax = 2000;
const rowidMax = 2 ** 40;

/** All rows of a table that can be reached: behind each place that can't be read it is tried again. */
function readTable(
  database: DatabaseSync,
  table: string,
  columns: readonly string[],
  note: (error: unknown) => void,
): Row[] {
  const rows: Row[] = [];
  let last = 0;
  let step = 0;
  for (let failures = 0; last + step < rowidMax;) {
    try {
      const statement = database.prepare(
        `select rowid as place, ${columns.join(", ")} from ${table} where rowid > ? order by rowid`,
      );
      for (const row of statement.iterate(last + step)) {
        const place = Number(row["place"]);
        // A damaged tree may lead in circles.
        if (place <= last) throw new Error(`the rows of ${table} are out of order`);
        rows.push(row);
        last = place;
        step = 0;
      }
      return rows;
    } catch (error) {
      note(error);
      step = ++failures < singleStepsMax ? step + 1 : (step + 1) * 2;
    }
  }
  return rows;
}

function parsed(text: unknown, note: (error: unknown) => void): unknown[] {
  try {
    return [JSON.parse(String(text)) as unknown];
  } catch (error) {
    note(error);
    return [];
  }
}

const pageBytes = 4096; // SQLite's default, which every store has

async function replaceFirstPage(file: string): Promise<void> {
  if (statSync(file).size < 2 * pageBytes) return;
  const pattern = `${file}-new`;
  const fresh = await openSqliteStore({ file: pattern });
  await fresh[Symbol.asyncDispose]();
  const page = Buffer.alloc(pageBytes);
  const source = openSync(pattern, "r");
  const target = openSync(file, "r+");
  try {
    readSync(source, page, 0, pageBytes, 0);
    page.writeUInt32BE(Math.floor(statSync(file).size / pageBytes), 28); // the file's size in pages
    page.writeUInt32BE(0, 32); // no list of free pages
    page.writeUInt32BE(0, 36);
    writeSync(target, page, 0, pageBytes, 0);
  } finally {
    closeSync(source);
    closeSync(target);
    for (const suffix of ["", "-wal", "-shm"]) rmSync(pattern + suffix, { force: true });
  }
}
