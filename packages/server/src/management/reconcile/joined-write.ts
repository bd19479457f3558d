/**
 * Small writes of many reconcilers, made durable together: while one transaction is committed those that come wait, and the
 * next one takes them all. A commit stands still until the disk has it: so reconcilers have a share of the process's time
 * for theirs. What they did not use lets the next few go at once; when it is used up, the next ones wait, and are more. Each
 * write must read through its transaction alone, and mean nothing to the others: one that fails fails by itself.
 */
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { Store, StoreTransaction } from "#store/port.ts";

type Work = (transaction: StoreTransaction) => Promise<unknown>;

interface Write {
  readonly work: Work;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** So that who waits for the store otherwise gets a turn. */
const joinedMax = 200;
const pauseMaxMs = 100;
const timeShare = 1 / 4;
const creditMaxMs = 50;

export class JoinedWrites {
  readonly #store: Pick<Store, "transaction">;
  readonly #clock: Pick<Clock, "monotonicMs" | "sleep">;
  readonly #waiting: Write[] = [];
  /** They go where there is room beside the others. */
  readonly #later: Write[] = [];
  #isWriting = false;
  /** Time that commits may take before they make a pause. */
  #creditMs = creditMaxMs;
  #countedAtMs: number;

  constructor(store: Pick<Store, "transaction">, clock: Pick<Clock, "monotonicMs" | "sleep">) {
    this.#store = store;
    this.#clock = clock;
    this.#countedAtMs = clock.monotonicMs();
  }

  /** Resolves when it is durable. */
  run(work: Work): Promise<void> {
    return this.#add(this.#waiting, work);
  }

  /** The same, for what nobody looks at first: in a storm of changes the records of it come after the state of things. */
  runLater(work: Work): Promise<void> {
    return this.#add(this.#later, work);
  }

  #add(waiting: Write[], work: Work): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    waiting.push({ work, resolve, reject });
    if (!this.#isWriting) void this.#write();
    return promise;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length + this.#later.length > 0) {
      const writes = this.#waiting.splice(0, joinedMax);
      writes.push(...this.#later.splice(0, joinedMax - writes.length));
      const startMs = this.#clock.monotonicMs();
      await this.#commit(writes);
      await this.#pauseAfter(startMs);
    }
    this.#isWriting = false;
  }

  async #pauseAfter(startMs: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const gainedMs = (nowMs - this.#countedAtMs) * timeShare;
    const creditMs = Math.min(creditMaxMs, this.#creditMs + gainedMs) - (nowMs - startMs);
    // One pause pays for all: what a store that stood still has cost is not asked back for minutes.
    this.#creditMs = Math.max(-pauseMaxMs * timeShare, creditMs);
    this.#countedAtMs = nowMs;
    if (this.#creditMs < 0) await this.#clock.sleep(Math.min(pauseMaxMs, -this.#creditMs / timeShare));
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
