/**
 * Connections to one PostgreSQL: how long anything may take, how numbers are read, and that all can be cut at once, so
 * that nothing waits for a server that is gone. Everything of Innkeeper's is in a schema of its own.
 */
import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import { AppError } from "#core/app-error.ts";
import type { PostgresAddress } from "#store/postgres/address.ts";
import type { StoreSchema } from "#store/schema.ts";

export const schemaName = "innkeeper";
const connectTimeoutMs = 3000;
/** Of one statement; nothing that the store asks takes a tenth of it. */
const statementTimeoutMs = 30_000;
const lockTimeoutMs = 10_000;
/** Oldest that has what is used here: pg_xact_status(xid8), https://www.postgresql.org/docs/13/release-13.html */
const oldestVersion = 130_000;
const int8 = 20; // https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_type.dat

/** Revisions and counters are far below 2^53. */
export const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text") =>
    oid === int8 ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig["getTypeParser"],
};

export interface ConnectionOptions {
  /** The server ends a transaction in which nothing happens for so long: a process that stands still holds no lock. */
  readonly idleTransactionMs: number;
  readonly connectionsMax: number;
}

export interface Connections {
  readonly database: Kysely<StoreSchema>;
  /** Ends all at once; the next use opens new ones. */
  cut(): void;
}

export function openConnections({ config }: PostgresAddress, options: ConnectionOptions): Connections {
  const sockets = new Set<pg.ClientBase>();
  const pool = new pg.Pool({
    ...config,
    types,
    max: options.connectionsMax,
    application_name: schemaName,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: statementTimeoutMs + connectTimeoutMs,
    keepAlive: true,
    onConnect: async (client) => void (await client.query(sessionSettings(options.idleTransactionMs))),
  });
  // What goes wrong with a connection is told to whoever uses it; one that idles is opened anew.
  pool.on("error", () => {});
  pool.on("connect", (client) => {
    client.on("error", () => {});
    sockets.add(client);
  });
  pool.on("remove", (client) => sockets.delete(client));
  return {
    database: new Kysely<StoreSchema>({ dialect: new PostgresDialect({ pool }) }),
    cut: () => {
      for (const client of sockets) destroySocket(client);
    },
  };
}

/** A connection that a statement may be waiting on can only be ended from below. */
export function destroySocket(client: pg.ClientBase): void {
  (client as pg.ClientBase & { connection?: { stream?: { destroy(): void } } }).connection?.stream?.destroy();
}

/** To be said once on each connection. */
export function sessionSettings(idleTransactionMs: number): string {
  return [
    `set search_path to ${schemaName}`,
    `set statement_timeout to ${statementTimeoutMs}`,
    `set lock_timeout to ${lockTimeoutMs}`,
    `set idle_in_transaction_session_timeout to ${idleTransactionMs}`,
    // A commit is durable when it is told, whatever the server's default.
    "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local')",
  ].join("; ");
}

/** store_unavailable unless it is a server that can hold a store. */
export async function checkServer(database: Kysely<StoreSchema>, title: string): Promise<void> {
  const { rows } = await sql<{ version: string; encoding: string; standby: boolean }>`
    select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding,
      pg_is_in_recovery() as standby`.execute(database);
  const { version = "0", encoding = "", standby = true } = rows[0] ?? {};
  const refuse = (why: string, remedy: string): AppError =>
    new AppError("store_unavailable", `The store ${title} can't be used: ${why}.`, { remedy, retryable: false });
  if (Number(version) < oldestVersion) {
    throw refuse(`its PostgreSQL is older than ${oldestVersion / 10_000}`, "Upgrade PostgreSQL.");
  }
  if (encoding !== "UTF8") {
    throw refuse(`its encoding is ${encoding}`, "Make a database with createdb --encoding=UTF8 --template=template0.");
  }
  if (standby) throw refuse("it is a standby, which takes no writes", "Name the primary in --store.");
}
