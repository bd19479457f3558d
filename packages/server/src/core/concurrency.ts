/** Bounded concurrency: so that one long list never floods a host with calls. */

/** Like Promise.all over `work(item)`, with at most `limit` at a time, results in order. The first error ends it. */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = Array.from({ length: items.length });
  let next = 0;
  let isFailed = false;
  const worker = async (): Promise<void> => {
    while (next < items.length && !isFailed) {
      const index = next++;
      try {
        results[index] = await work(items[index] as T, index);
      } catch (error) {
        isFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}

/** Runs work of one key strictly one after the other; different keys don't wait for each other. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const mine = Promise.withResolvers<void>();
    const tail = before.then(() => mine.promise);
    this.#tails.set(key, tail);
    await before;
    try {
      return await work();
    } finally {
      mine.resolve();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

interface TurnOptions {
  readonly signal: AbortSignal;
  /** Before all who wait. */
  readonly goesFirst?: boolean;
}

/**
 * A few pieces of work at a time, in the order in which they were asked for, but for those that someone waits for: they go
 * first. One that takes longer than the patience goes on, but no longer has a turn: what hangs delays the others once, and
 * not for long.
 */
export class Turns {
  readonly #limit: number;
  readonly #patienceMs: number;
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(limit: number, patienceMs: number) {
    this.#limit = limit;
    this.#patienceMs = patienceMs;
  }

  /** Rejects with the signal's reason when that aborts before there was a turn. */
  async run<T>(work: () => Promise<T>, options: TurnOptions): Promise<T> {
    options.signal.throwIfAborted();
    if (this.#active < this.#limit) this.#active++;
    else await this.#turn(options);
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#active--;
      else next();
    };
    const timer = setTimeout(end, this.#patienceMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      end();
    }
  }

  #turn({ signal, goesFirst = false }: TurnOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting[goesFirst ? "unshift" : "push"](enter);
    });
  }
}
