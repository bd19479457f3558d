/**
 * The embedded store: one SQLite file. Durable at every commit (WAL with synchronous=FULL), held by one process alone
 * (exclusive locking: the kernel drops the lock when the process dies, however it dies), checked when it is opened.
 * A file that is damaged, another's or of a newer schema is refused and kept.
 */
import { closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import { KyselyStore } from "#store/kysely-store.ts";
import { migrate } from "#store/migration/migrate.ts";
import type { Migration } from "#store/migration/table.ts";
import type { Store } from "#store/port.ts";
import { selectRevision, updateRevision } from "#store/query/change.ts";
import type { StoreSchema } from "#store/schema.ts";
import { copyDatabase, quickCheck } from "#store/sqlite/copy.ts";
import { nodeSqliteDialect } from "#store/sqlite/dialect.ts";
import { corruptedStore, foreignFile, isFull, translateSqliteError } from "#store/sqlite/error.ts";
import { checkLog } from "#store/sqlite/log-check.ts";

/** "Innk" in the file's header, so that `file` and we know whose it is: https://sqlite.org/fileformat.html#application_id */
const applicationId = 0x49_6e_6e_6b;
/** How long to wait for a process that is just ending to let go of the file. */
const busyTimeoutMs = 3000;

interface SqliteStoreOptions {
  readonly file: string;
  readonly migrations?: readonly Migration[];
  /** So many revisions are passed over: those that were given by a store that this one takes the place of. */
  readonly skipRevisions?: number;
}

/** Opens the store, making it if there is none. store_unavailable names what is wrong with it. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { file } = options;
  const { kysely, database } = await openSqliteDatabase(options);
  return new KyselyStore({
    database: kysely,
    translate: (error) => translateSqliteError(error, file),
    copyTo: (target, alone) => alone(() => copyDatabase(database, file, target)),
  });
}

export interface SqliteDatabase {
  readonly kysely: Kysely<StoreSchema>;
  readonly database: DatabaseSync;
  /** Then all of it is in one file. */
  close(): void;
}

/** The database below the store, for who copies all of it. */
export async function openSqliteDatabase(options: SqliteStoreOptions): Promise<SqliteDatabase> {
  const { file } = options;
  let database: DatabaseSync | undefined;
  try {
    // Made with this mode before SQLite sees it: its journal files take the mode from it.
    closeSync(openSync(file, "a", 0o600));
    const logFindings = checkLog(file);
    if (logFindings !== undefined) throw corruptedStore(file, logFindings);
    database = new DatabaseSync(file, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
    prepare(database, file);
    const kysely = new Kysely<StoreSchema>({ dialect: nodeSqliteDialect(database) });
    await migrate(kysely, options.migrations);
    if (options.skipRevisions !== undefined) {
      await updateRevision(kysely, (await selectRevision(kysely)) + options.skipRevisions);
    }
    const opened = database;
    return { kysely, database, close: () => opened.close() };
  } catch (error) {
    if (database?.isOpen === true) database.close();
    throw translateSqliteError(translateFileError(error), file);
  }
}

function prepare(database: DatabaseSync, file: string): void {
  database.exec("pragma locking_mode = exclusive");
  const owner = Number(single(database, "pragma application_id"));
  const isEmpty = Number(single(database, "select count(*) from sqlite_schema")) === 0;
  if (owner !== applicationId && !(isEmpty && owner === 0)) throw foreignFile(file);
  database.exec("pragma journal_mode = wal");
  database.exec("pragma synchronous = full");
  database.exec("pragma journal_size_limit = 67108864");
  // Takes the lock now, not at the first write.
  database.exec("begin exclusive");
  if (isEmpty) database.exec(`pragma application_id = ${applicationId}`);
  database.exec("commit");
  const findings = quickCheck(database);
  if (findings !== undefined) throw corruptedStore(file, `SQLite says: ${findings}`);
  emptyLog(database);
}

/** What a process that was killed has left in the log is no part of this one's: log-check.ts counts on it. */
function emptyLog(database: DatabaseSync): void {
  try {
    database.exec("pragma wal_checkpoint(truncate)");
  } catch (error) {
    if (!isFull(error)) throw error;
  }
}

function single(database: DatabaseSync, sql: string): unknown {
  const row = database.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row)[0];
}

/** The file system's refusal under SQLite's code for it, so that one table says what both mean. */
function translateFileError(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  const primary = { ENOSPC: 13, EACCES: 14, EROFS: 8, ENOENT: 14, ENOTDIR: 14, EISDIR: 14, EIO: 10 }[
    String(error.code)
  ];
  return primary === undefined ? error : Object.assign(error, { errcode: primary });
}
