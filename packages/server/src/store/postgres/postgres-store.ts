/**
 * The store in PostgreSQL, which several processes may share. One leads and writes, each write fenced by its token; the
 * others read, each transaction of them one snapshot. All follow the change log: told by NOTIFY, and asking now and then.
 * A commit whose answer was lost with the connection is looked up by its transaction's id.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { type Kysely, sql } from "kysely";
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import { KyselyStore, type SharedDialect } from "#store/kysely-store.ts";
import { type Migration, migrations } from "#store/migration/table.ts";
import type { Leadership, Store } from "#store/port.ts";
import { selectCounters } from "#store/query/change.ts";
import { defaultTakeoverMs, type PostgresAddress, postgresAddress } from "#store/postgres/address.ts";
import { checkServer, type Connections, openConnections } from "#store/postgres/connection.ts";
import { Election } from "#store/postgres/election.ts";
import { isConnectionLoss, translatePostgresError, unreachableStore } from "#store/postgres/error.ts";
import { channel, fence } from "#store/postgres/lease.ts";
import { setUpSchema } from "#store/postgres/schema-setup.ts";
import type { StoreSchema } from "#store/schema.ts";
import { exportToSqlite } from "#store/sqlite/export.ts";

export interface PostgresStoreOptions {
  /** `postgres://…`: see address.ts. */
  readonly url: string;
  readonly password?: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** A leader that has not been heard of for so long is followed by another. */
  readonly takeoverMs?: number;
  /** Another version of Innkeeper has changed the schema: this process can't go on. Default: it ends. */
  readonly onOtherSchema?: (error: Error) => void;
  readonly migrations?: readonly Migration[];
}

/** One for the store, one for a copy of it, and one for looking up what became of a commit. */
const connectionsMax = 3;
const outcomePollMs = 100;
/** Of one that reads: it holds nobody up but the upkeep of the tables. */
const idleTransactionMs = 60_000;

export interface PostgresStore {
  readonly store: Store;
  readonly leadership: Leadership;
}

/** Opens the store, making it if there is none, and takes part in the election of its leader until `leadership` is disposed of. */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<PostgresStore> {
  const { clock, log, takeoverMs = defaultTakeoverMs, migrations: applicable = migrations } = options;
  const address = postgresAddress(options.url, options.password);
  const connections = openConnections(address, { idleTransactionMs, connectionsMax });
  const { database } = connections;
  try {
    await checkServer(database, address.title);
    await setUpSchema(database, address.title, applicable);
    const counters = await selectCounters(database);
    const holder = `${hostname()}:${process.pid}:${randomUUID()}`;
    const schemaVersion = applicable.length;
    const { onOtherSchema: end = endProcess } = options;
    const onOtherSchema = (): void =>
      end(new Error(`the store ${address.title} was migrated by another version of Innkeeper; this process ends`));
    const onUnreachable = (): void => connections.cut();
    const callbacks = { onOtherSchema, onUnreachable };
    const election = new Election({ address, holder, takeoverMs, schemaVersion, clock, log, ...callbacks });
    const shared = new PostgresTransactions({ takeoverMs, address, connections, election, clock, counters });
    const store = new KyselyStore({
      database,
      shared,
      translate: (error) => shared.translate(error),
      copyTo: async (file) => {
        await exportToSqlite(database, file).catch((error: unknown) => {
          throw shared.translate(error);
        });
      },
    });
    return { store, leadership: election };
  } catch (error) {
    await database.destroy().catch(() => {});
    throw translatePostgresError(error, address.title);
  }
}

function endProcess(error: Error): void {
  setImmediate(() => {
    throw error;
  });
}

interface TransactionDeps {
  readonly takeoverMs: number;
  readonly address: PostgresAddress;
  readonly connections: Connections;
  readonly election: Election;
  readonly clock: Clock;
  readonly counters: ReadonlyMap<string, number>;
}

class PostgresTransactions implements SharedDialect {
  readonly counters: ReadonlyMap<string, number>;
  readonly #deps: TransactionDeps;

  constructor(deps: TransactionDeps) {
    this.#deps = deps;
    this.counters = deps.counters;
  }

  async transaction<T>(work: (connection: Kysely<StoreSchema>) => Promise<T>): Promise<T> {
    const { election, address } = this.#deps;
    // Whoever asks is told at once, instead of one after another waiting for what does not answer.
    if (!election.isReachable) throw unreachableStore(address.title);
    const token = election.term;
    return token === undefined ? this.#read(work) : this.#write(token, work);
  }

  async announce(connection: Kysely<StoreSchema>): Promise<void> {
    await sql`select pg_notify(${channel}, '')`.execute(connection);
  }

  onWake(listener: () => void): void {
    const { election } = this.#deps;
    election.onWake(() => {
      if (election.term === undefined) listener();
    });
  }

  translate(error: unknown): unknown {
    const { address, election } = this.#deps;
    const sqlState = error instanceof Error && "code" in error ? error.code : undefined;
    // A write that was begun without the lead.
    if (sqlState === "25006" && election.term === undefined) return notLeading(election, error);
    return translatePostgresError(error, address.title);
  }

  #read<T>(work: (connection: Kysely<StoreSchema>) => Promise<T>): Promise<T> {
    return this.#deps.connections.database
      .transaction()
      .setIsolationLevel("repeatable read")
      .setAccessMode("read only")
      .execute(work);
  }

  /** `tries`: a connection that has died unnoticed is found out by its first statement, and another is tried. */
  async #write<T>(token: number, work: (connection: Kysely<StoreSchema>) => Promise<T>, tries = 2): Promise<T> {
    const { connections, election, takeoverMs } = this.#deps;
    let begun: string | undefined;
    let worked: { readonly result: T } | undefined;
    try {
      return await connections.database
        .transaction()
        .setIsolationLevel("read committed")
        .execute(async (connection) => {
          begun = await fence(connection, token, takeoverMs);
          if (begun === undefined) {
            election.deposed(token);
            throw notLeading(election);
          }
          const result = await work(connection);
          worked = { result };
          return result;
        });
    } catch (error) {
      const isUntouched = begun === undefined && isConnectionLoss(error) && election.term === token;
      if (isUntouched && tries > 1) return this.#write(token, work, tries - 1);
      const isUnanswered = begun !== undefined && worked !== undefined && isConnectionLoss(error);
      if (isUnanswered && worked !== undefined && (await this.#wasCommitted(begun ?? "", token))) return worked.result;
      throw error;
    }
  }

  /** Asks what became of a commit, as long as this process leads; throws if it can't be told. */
  async #wasCommitted(id: string, token: number): Promise<boolean> {
    const { connections, election, clock, address } = this.#deps;
    while (election.term === token) {
      try {
        const { rows } = await sql<{ status: string | null }>`select pg_xact_status(${id}::xid8) as status`.execute(
          connections.database,
        );
        const status = rows[0]?.status;
        if (status === "committed") return true;
        if (status === "aborted") return false;
      } catch (error) {
        if (!isConnectionLoss(error)) throw error;
      }
      await clock.sleep(outcomePollMs);
    }
    throw new AppError(
      "store_unavailable",
      `The connection to the store ${address.title} was lost while it was asked to keep a change: the change may have been made or not.`,
      { remedy: "When it can be reached again, look whether it was made, then decide anew." },
    );
  }
}

function notLeading(election: Election, cause?: unknown): AppError {
  const { leader } = election;
  const who = leader === undefined ? "and no other process is known to" : `the one at ${leader.url} does`;
  return new AppError("store_unavailable", `This process does not lead, ${who}; nothing was changed.`, {
    remedy: leader === undefined ? "Try again in a few seconds: a leader is being chosen." : `Ask ${leader.url}.`,
    cause,
  });
}
