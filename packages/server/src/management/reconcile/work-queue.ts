/**
 * Work of one host, a few pieces at a time. A piece whose like is still waiting is not queued twice: both callers get the
 * same end. (One that runs already is no substitute: it may have read before what happened now.) So what comes in bursts is
 * best left to settle: until then it waits, takes no turn, and is joined.
 */
interface Waiting {
  readonly start: () => void;
  readonly done: Promise<void>;
  settled: boolean;
}

export class WorkQueue {
  readonly #limit: number;
  readonly #waiting = new Map<string, Waiting>();
  #active = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** It begins when `settled` has ended, at the earliest; default: at once. */
  add(key: string, work: () => Promise<void>, settled?: () => Promise<void>): Promise<void> {
    const same = this.#waiting.get(key);
    if (same !== undefined) return same.done;
    const { promise: turn, resolve: start } = Promise.withResolvers<void>();
    const piece: Waiting = { start, done: this.#run(turn, work), settled: settled === undefined };
    this.#waiting.set(key, piece);
    const settle = (): void => {
      piece.settled = true;
      this.#advance();
    };
    if (settled === undefined) this.#advance();
    else void settled().then(settle, settle);
    return piece.done;
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
    for (const [key, { start, settled }] of this.#waiting) {
      if (this.#active >= this.#limit) return;
      if (!settled) continue;
      this.#active++;
      this.#waiting.delete(key);
      start();
    }
  }
}
