/**
 * Small writes of many reconcilers, made durable together: while one transaction is committed those that come wait, and the
 * next one takes them all. Each must read through its transaction alone, and mean nothing to the others: one that fails
 * fails by itself.
 */
import { AppError } from "#core/app-error.ts";
import type { Store, StoreTransaction } from "#store/port.ts";

type Work = (transaction: StoreTransaction) => Promise<unknown>;

interface Write {
  readonly work: Work;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** So that who waits for the store otherwise gets a turn. */
const joinedMax = 200;

export class JoinedWrites {
  readonly #store: Pick<Store, "transaction">;
  readonly #waiting: Write[] = [];
  #isWriting = false;

  constructor(store: Pick<Store, "transaction">) {
    this.#store = store;
  }

  /** Resolves when it is durable. */
  run(work: Work): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ work, resolve, reject });
    if (!this.#isWriting) void this.#write();
    return promise;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) await this.#commit(this.#waiting.splice(0, joinedMax));
    this.#isWriting = false;
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    try {
      await this.#store.transaction(async (transaction) => {
        for (const { work } of writes) await work(transaction);
      });
    } catch (error) {
      const isStoreFault = error instanceof AppError && error.code === "store_unavailable";
      if (writes.length > 1 && !isStoreFault) for (const write of writes) await this.#commit([write]);
      else for (const { reject } of writes) reject(error);
      return;
    }
    for (const { resolve } of writes) resolve();
  }
}
