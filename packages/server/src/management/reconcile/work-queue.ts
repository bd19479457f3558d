/**
 * Work of one host, a few pieces at a time. A piece whose like is still waiting is not queued twice: both callers get the
 * same end. (One that runs already is no substitute: it may have read before what happened now.)
 */
export class WorkQueue {
  readonly #limit: number;
  readonly #waiting = new Map<string, { readonly start: () => void; readonly done: Promise<void> }>();
  #active = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(key: string, work: () => Promise<void>): Promise<void> {
    const same = this.#waiting.get(key);
    if (same !== undefined) return same.done;
    const { promise: turn, resolve: start } = Promise.withResolvers<void>();
    const done = this.#run(turn, work);
    this.#waiting.set(key, { start, done });
    this.#advance();
    return done;
  }

  async #run(turn: Promise<void>, work: () => Promise<void>): Promise<void> {
    await turn;
    try {
      await work();
    } finally {
      this.#active--;
      this.#advance();
    }
  }

  #advance(): void {
    for (const [key, { start }] of this.#waiting) {
      if (this.#active >= this.#limit) return;
      this.#active++;
      this.#waiting.delete(key);
      start();
    }
  }
}
