/**
 * The store over any kysely dialect: transactions one after another, each with its change log, and listeners that hear
 * of a commit before who made it goes on. A dialect brings the connection and the translation of its errors.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Kysely } from "kysely";
import { AppError } from "#core/app-error.ts";
import type { ChangeEntry, Store, StoreTransaction } from "#store/port.ts";
import { selectChanges, selectFirstRevision, selectRevision } from "#store/query/change.ts";
import { prune, type PruneLimits } from "#store/prune.ts";
import type { StoreSchema } from "#store/schema.ts";
import { KyselyTransaction } from "#store/transaction.ts";

export interface StoreDialect {
  readonly database: Kysely<StoreSchema>;
  /** The AppError that a dialect's error means; anything else as it is. */
  translate(error: unknown): unknown;
  copyTo(file: string): Promise<void>;
}

export class KyselyStore implements Store {
  readonly #dialect: StoreDialect;
  readonly #listeners = new Set<(changes: readonly ChangeEntry[]) => void>();
  /** Which transaction a call is made from. What was begun inside one may outlive it: then it is not inside any more. */
  readonly #scope = new AsyncLocalStorage<{ open: boolean }>();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(dialect: StoreDialect) {
    this.#dialect = dialect;
  }

  transaction<T>(work: (transaction: StoreTransaction) => Promise<T>): Promise<T> {
    return this.#exclusively(async () => {
      const scope = { open: true };
      try {
        const { result, changes } = await this.#scope.run(scope, () => this.#commit(work));
        scope.open = false;
        if (changes.length > 0) this.#tell(changes);
        return result;
      } finally {
        scope.open = false;
      }
    });
  }

  revision(): Promise<number> {
    return this.#exclusively(() => selectRevision(this.#dialect.database));
  }

  changesSince(since: number, limit: number): Promise<ChangeEntry[]> {
    return this.#exclusively(async () => {
      const { database } = this.#dialect;
      const latest = await selectRevision(database);
      if (since >= latest) return [];
      const first = await selectFirstRevision(database);
      if (first === undefined || since < first - 1) {
        throw new AppError(
          "precondition_failed",
          `The change log begins at revision ${first ?? latest + 1}; ${since} is too long ago.`,
          { field: "since", remedy: "List anew, then watch from the revision of that list." },
        );
      }
      return selectChanges(database, since, limit);
    });
  }

  onCommit(listener: (changes: readonly ChangeEntry[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  prune(limits: PruneLimits): Promise<void> {
    return prune(this, this.#dialect.database, limits, (work) => this.#exclusively(work));
  }

  copyTo(file: string): Promise<void> {
    return this.#exclusively(() => this.#dialect.copyTo(file));
  }

  async probe(): Promise<void> {
    const now = Date.now();
    await this.transaction((transaction) => transaction.putPrivate("probe", "probe", now));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    await this.#exclusively(() => this.#dialect.database.destroy());
    this.#closed = true;
    this.#listeners.clear();
  }

  #commit<T>(
    work: (transaction: StoreTransaction) => Promise<T>,
  ): Promise<{ result: T; changes: readonly ChangeEntry[] }> {
    return this.#dialect.database.transaction().execute(async (connection) => {
      const transaction = new KyselyTransaction(connection);
      const result = await work(transaction);
      await transaction.finish();
      return { result, changes: transaction.changes };
    });
  }

  /** Runs one after another, in the order of the calls, with the dialect's errors translated. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#scope.getStore()?.open === true) {
      return Promise.reject(
        new Error("the store was called from inside one of its transactions: this would wait for ever"),
      );
    }
    const run = async (): Promise<T> => {
      if (this.#closed) throw new AppError("store_unavailable", "The store was closed.");
      try {
        return await work();
      } catch (error) {
        throw this.#dialect.translate(error);
      }
    };
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    return result;
  }

  /** What is committed stays so whatever a listener does: its fault ends the process, for a cache that missed a change lies. */
  #tell(changes: readonly ChangeEntry[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(changes);
      } catch (error) {
        setImmediate(() => {
          throw error;
        });
      }
    }
  }
}
