/**
 * A store in PostgreSQL for who works on all of it at once: moves it, or puts another in its place. Invariant: no process
 * leads meanwhile, and what one that did had under way is over; everything happens in one transaction, so that after a
 * crash it is as it was. What is replaced or moved away stays in the database, in a schema of another name.
 */
import { type Kysely, sql } from "kysely";
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import { migrate } from "#store/migration/migrate.ts";
import { postgresAddress } from "#store/postgres/address.ts";
import { checkServer, type Connections, openConnections, schemaName } from "#store/postgres/connection.ts";
import { translatePostgresError } from "#store/postgres/error.ts";
import { depose, schemaLock } from "#store/postgres/lease.ts";
import { setUpSchema, tablesOf } from "#store/postgres/schema-setup.ts";
import type { StoreSchema } from "#store/schema.ts";
import { exportToSqlite } from "#store/sqlite/export.ts";
import { contentOf, copyContent, isEmptyContent, notEmpty, type StoreContent } from "#store/transfer.ts";

export interface OfflineOptions {
  readonly url: string;
  readonly password?: string;
  readonly clock: Clock;
}

type OnTable = (table: string) => void;

export class OfflinePostgres implements AsyncDisposable {
  readonly title: string;
  readonly #connections: Connections;
  readonly #clock: Clock;

  private constructor(title: string, connections: Connections, clock: Clock) {
    this.title = title;
    this.#connections = connections;
    this.#clock = clock;
  }

  /** Touches nothing yet. */
  static async open({ url, password, clock }: OfflineOptions): Promise<OfflinePostgres> {
    const address = postgresAddress(url, password);
    // The other side of a copy may be slow.
    const connections = openConnections(address, { idleTransactionMs: 0, connectionsMax: 2 });
    const offline = new OfflinePostgres(address.title, connections, clock);
    try {
      await offline.#translated(() => checkServer(connections.database, address.title));
      return offline;
    } catch (error) {
      await offline[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** undefined: there is no store, or nothing in it. */
  content(): Promise<StoreContent | undefined> {
    return this.#translated(async () => {
      const { database } = this.#connections;
      if ((await tablesOf(database)).length === 0) return undefined;
      await setUpSchema(database, this.title);
      const content = await contentOf(database);
      return isEmptyContent(content) ? undefined : content;
    });
  }

  /** Into a store that is empty, or none yet; conflict, and nothing is changed, if it is not. */
  fill(source: Kysely<StoreSchema>, onTable?: OnTable): Promise<StoreContent> {
    return this.#translated(async () => {
      await setUpSchema(this.#connections.database, this.title);
      return this.#alone(async (transaction) => {
        const present = await contentOf(transaction);
        if (!isEmptyContent(present)) throw notEmpty(this.title, present);
        return copyContent(source, transaction, onTable);
      });
    });
  }

  /** Puts this in the place of what is there, which is kept: in which schema, undefined if there was nothing. */
  replace(source: Kysely<StoreSchema>, at: Date): Promise<string | undefined> {
    return this.#translated(async () => {
      if ((await this.content()) === undefined) {
        await this.fill(source);
        return undefined;
      }
      await this.#refuseServed();
      return this.#alone(async (transaction) => {
        const lease = await transaction.selectFrom("lease").selectAll().executeTakeFirst();
        const aside = await putAside(transaction, "old", at);
        await sql`create schema ${sql.id(schemaName)}`.execute(transaction);
        await migrate(transaction);
        await copyContent(source, transaction);
        // Tokens go on: who led before must never take itself for the leader of the new one.
        if (lease !== undefined) await transaction.insertInto("lease").values(lease).execute();
        return aside;
      });
    });
  }

  /** All of it as a SQLite file; `accept` puts it where it belongs, and only then this store is put aside. */
  moveTo(
    file: string,
    at: Date,
    accept: () => Promise<void>,
    onTable?: OnTable,
  ): Promise<{ content: StoreContent; aside: string }> {
    return this.#translated(async () => {
      const { database } = this.#connections;
      await setUpSchema(database, this.title);
      await this.#refuseServed();
      return this.#alone(async (transaction) => {
        const content = await exportToSqlite(database, file, onTable);
        await accept();
        return { content, aside: await putAside(transaction, "moved", at) };
      });
    });
  }

  /** Puts the store aside that was moved already. */
  retire(at: Date): Promise<string> {
    return this.#translated(async () => {
      await this.#refuseServed();
      return this.#alone((transaction) => putAside(transaction, "moved", at));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections.database.destroy();
  }

  async #alone<T>(work: (transaction: Kysely<StoreSchema>) => Promise<T>): Promise<T> {
    return this.#connections.database.transaction().execute(async (transaction) => {
      await sql`select pg_advisory_xact_lock(${schemaLock})`.execute(transaction);
      await depose(transaction);
      return work(transaction);
    });
  }

  /** A leader gives its lease back when it stops; one that was killed is waited for as long as another leader would. */
  async #refuseServed(): Promise<void> {
    const look = () => this.#connections.database.selectFrom("lease").selectAll().executeTakeFirst();
    const first = await look();
    if (first === undefined || first.holder === null) return;
    const deadlineMs = this.#clock.monotonicMs() + first.takeover_ms;
    while (this.#clock.monotonicMs() < deadlineMs) {
      await this.#clock.sleep(first.takeover_ms / 10);
      const now = await look();
      if (now === undefined || now.holder === null) return;
      if (now.renewal === first.renewal && now.token === first.token) continue;
      throw new AppError(
        "conflict",
        `An Innkeeper serves the store ${this.title} (${now.holder}); nothing was changed.`,
        {
          remedy: "Stop all Innkeepers that use it, then try again.",
        },
      );
    }
  }

  async #translated<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw translatePostgresError(error, this.title);
    }
  }
}

async function putAside(transaction: Kysely<StoreSchema>, why: "old" | "moved", at: Date): Promise<string> {
  const aside = `${schemaName}_${why}_${at
    .toISOString()
    .replaceAll(/[^0-9]/g, "")
    .slice(0, 14)}`;
  await sql`alter schema ${sql.id(schemaName)} rename to ${sql.id(aside)}`.execute(transaction);
  return aside;
}
