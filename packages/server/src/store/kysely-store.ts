/**
 * The store over any kysely dialect: transactions one after another, each with its change log, and listeners that hear
 * of a commit before who made it goes on. A dialect brings the connection and the translation of its errors. Where other
 * processes write, too, listeners hear of their commits in the same order, and before anything that came later is read.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate as turnOfOthers } from "node:timers/promises";
import type { Kysely } from "kysely";
import { AppError } from "#core/app-error.ts";
import {
  type CachedSpace,
  cachedSpaces,
  type ChangeEntry,
  type ChangeGap,
  type PrivateEntry,
  type Store,
  type StoreTransaction,
} from "#store/port.ts";
import {
  revisionOf,
  selectChanges,
  selectCounters,
  selectFirstRevision,
  selectRevision,
  setRevision,
  spaceCounter,
} from "#store/query/change.ts";
import { selectPrivateSpace } from "#store/query/private.ts";
import { selectKeys, selectWrittenSince } from "#store/query/resource.ts";
import { prune, type PruneLimits } from "#store/prune.ts";
import type { StoreSchema } from "#store/schema.ts";
import { KyselyTransaction } from "#store/transaction.ts";

type Work<T> = (connection: Kysely<StoreSchema>) => Promise<T>;

/**
 * A store in this thread gives it back to nobody while one transaction waits for another: after so long sockets and timers
 * get a turn.
 */
const aloneMaxMs = 10;

interface StoreDialect {
  readonly database: Kysely<StoreSchema>;
  /** The AppError that a dialect's error means; anything else as it is. */
  translate(error: unknown): unknown;
  /** `alone`: runs while nothing else uses the store. */
  copyTo(file: string, alone: <T>(work: () => Promise<T>) => Promise<T>): Promise<void>;
  /** Absent: all that is written is written by this process. */
  readonly shared?: SharedDialect;
  close?(): Promise<void>;
}

/** What a store that several processes use does otherwise. */
export interface SharedDialect {
  /** As the store was when it was opened. */
  readonly counters: ReadonlyMap<string, number>;
  /** A transaction that may write, and ends so that nobody else's write can have come between; or one that only reads. */
  transaction<T>(work: Work<T>): Promise<T>;
  /** In the transaction of the change: wakes the other processes once it is committed. */
  announce(connection: Kysely<StoreSchema>): Promise<void>;
  /** Calls back when there may be something new. */
  onWake(listener: () => void): void;
}

export class KyselyStore implements Store {
  readonly #dialect: StoreDialect;
  readonly #listeners = new Set<(changes: readonly ChangeEntry[]) => void>();
  readonly #gapListeners = new Set<(gap: ChangeGap) => void>();
  readonly #privateListeners = new Set<readonly [CachedSpace, (entries: readonly PrivateEntry[]) => void]>();
  /** Which transaction a call is made from. What was begun inside one may outlive it: then it is not inside any more. */
  readonly #scope = new AsyncLocalStorage<{ open: boolean }>();
  /** Of a shared store: as far as listeners were told. */
  readonly #told: Map<string, number>;
  #isFollowing = false;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Since when transactions have followed one another without a turn of others. */
  #aloneSinceMs = 0;
  #closed = false;

  constructor(dialect: StoreDialect) {
    this.#dialect = dialect;
    this.#told = new Map(dialect.shared?.counters);
    dialect.shared?.onWake(() => this.#follow());
  }

  transaction<T>(work: (transaction: StoreTransaction) => Promise<T>): Promise<T> {
    return this.#exclusively(async () => {
      const scope = { open: true };
      try {
        const { result, written } = await this.#scope.run(scope, () => this.#commit(work));
        scope.open = false;
        this.#tellOwn(written);
        return result;
      } finally {
        scope.open = false;
      }
    });
  }

  revision(): Promise<number> {
    return this.#exclusively(() => this.#read(selectRevision));
  }

  changesSince(since: number, limit: number): Promise<ChangeEntry[]> {
    return this.#exclusively(() => this.#read((database) => changesOf(database, since, limit)));
  }

  onCommit(listener: (changes: readonly ChangeEntry[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onGap(listener: (gap: ChangeGap) => void): () => void {
    this.#gapListeners.add(listener);
    return () => this.#gapListeners.delete(listener);
  }

  onPrivateChange(space: CachedSpace, listener: (entries: readonly PrivateEntry[]) => void): () => void {
    const entry = [space, listener] as const;
    this.#privateListeners.add(entry);
    return () => this.#privateListeners.delete(entry);
  }

  prune(limits: PruneLimits): Promise<void> {
    return prune(this, limits, (work) => this.#exclusively(() => this.#run(work)));
  }

  copyTo(file: string): Promise<void> {
    return this.#dialect.copyTo(file, (work) => this.#exclusively(work));
  }

  async probe(): Promise<void> {
    const now = Date.now();
    await this.transaction((transaction) => transaction.putPrivate("probe", "probe", now));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    await this.#exclusively(async () => {
      await this.#dialect.close?.();
      await this.#dialect.database.destroy();
    });
    this.#closed = true;
    this.#listeners.clear();
    this.#gapListeners.clear();
    this.#privateListeners.clear();
  }

  #commit<T>(work: (transaction: StoreTransaction) => Promise<T>): Promise<{ result: T; written: KyselyTransaction }> {
    return this.#run(async (connection) => {
      const transaction = new KyselyTransaction(connection);
      const result = await work(transaction);
      await transaction.finish();
      const isNews = transaction.changes.length > 0 || transaction.changedSpaces.size > 0;
      if (isNews) await this.#dialect.shared?.announce(connection);
      return { result, written: transaction };
    });
  }

  #run<T>(work: Work<T>): Promise<T> {
    const { database, shared } = this.#dialect;
    if (shared === undefined) return database.transaction().execute(work);
    return shared.transaction(async (connection) => {
      await this.#catchUp(connection);
      return work(connection);
    });
  }

  #read<T>(work: Work<T>): Promise<T> {
    const { database, shared } = this.#dialect;
    return shared === undefined ? work(database) : this.#run(work);
  }

  /** Reads what others wrote, soon. */
  #follow(): void {
    if (this.#isFollowing || this.#closed) return;
    this.#isFollowing = true;
    this.#exclusively(async () => {
      this.#isFollowing = false;
      await this.#run(async () => {});
    }).catch(() => {
      // What can't be reached now is read with the next wake-up, and before the next transaction in any case.
      this.#isFollowing = false;
    });
  }

  /** Tells listeners what others wrote, up to what this transaction sees. */
  async #catchUp(connection: Kysely<StoreSchema>): Promise<void> {
    const counters = await selectCounters(connection);
    const news = await newsOf(connection, revisionOf(this.#told), revisionOf(counters));
    const spaces: (readonly [CachedSpace, PrivateEntry[]])[] = [];
    for (const space of cachedSpaces) {
      if (counters.get(spaceCounter(space)) === this.#told.get(spaceCounter(space))) continue;
      spaces.push([space, await selectPrivateSpace(connection, space)]);
    }
    for (const [name, value] of counters) this.#told.set(name, value);
    // Listeners are not inside the transaction that happened to find the news.
    this.#scope.exit(() => {
      if ("has" in news) for (const listener of this.#gapListeners) heard(() => listener(news));
      else this.#tell(news);
      for (const [space, entries] of spaces) this.#tellPrivate(space, entries);
    });
  }

  #tellOwn({ changes, changedSpaces }: KyselyTransaction): void {
    const last = changes.at(-1);
    if (last !== undefined) setRevision(this.#told, last.revision);
    for (const space of changedSpaces) {
      const name = spaceCounter(space);
      this.#told.set(name, (this.#told.get(name) ?? 0) + 1);
    }
    this.#tell(changes);
  }

  /** Runs one after another, in the order of the calls, with the dialect's errors translated. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#scope.getStore()?.open === true) {
      return Promise.reject(
        new Error("the store was called from inside one of its transactions: this would wait for ever"),
      );
    }
    if (this.#waiting === 0) this.#aloneSinceMs = performance.now();
    this.#waiting++;
    const run = async (): Promise<T> => {
      try {
        if (performance.now() - this.#aloneSinceMs > aloneMaxMs) {
          await turnOfOthers();
          this.#aloneSinceMs = performance.now();
        }
        if (this.#closed) throw new AppError("store_unavailable", "The store was closed.");
        return await work();
      } catch (error) {
        throw this.#dialect.translate(error);
      } finally {
        this.#waiting--;
      }
    };
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    return result;
  }

  #tell(changes: readonly ChangeEntry[]): void {
    if (changes.length === 0) return;
    for (const listener of this.#listeners) heard(() => listener(changes));
  }

  #tellPrivate(space: CachedSpace, entries: readonly PrivateEntry[]): void {
    for (const [each, listener] of this.#privateListeners) if (each === space) heard(() => listener(entries));
  }
}

const followBatch = 1000;

/** precondition_failed if the log no longer reaches back so far. */
async function changesOf(database: Kysely<StoreSchema>, since: number, limit: number): Promise<ChangeEntry[]> {
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
}

/** What others have written since `told`; a gap if the log no longer reaches back so far. */
async function newsOf(
  connection: Kysely<StoreSchema>,
  told: number,
  latest: number,
): Promise<readonly ChangeEntry[] | ChangeGap> {
  const changes: ChangeEntry[] = [];
  try {
    for (let since = told; since < latest;) {
      const batch = await changesOf(connection, since, followBatch);
      changes.push(...batch);
      since = batch.at(-1)?.revision ?? latest;
    }
    return changes;
  } catch (error) {
    if (!(error instanceof AppError && error.code === "precondition_failed")) throw error;
    const keys = await selectKeys(connection);
    const written = await selectWrittenSince(connection, told);
    return { revision: latest, changes: written, has: (kind, id) => keys.has(`${kind} ${id}`) };
  }
}

/** What is committed stays so whatever a listener does: its fault ends the process, for a cache that missed a change lies. */
function heard(listen: () => void): void {
  try {
    listen();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}
