// Which requests may be in flight. libvirtd works on max_client_requests (5 by default) requests of one client at a time
// and stops reading the socket while all are taken: not even keepalive messages get through then, so five long
// migrations would look like a dead connection. Hence requests of low priority (those that may wait for a guest's
// monitor) leave one slot free, which only those of high priority (always quick) use. Order within a priority is kept.
// A request that its caller gave up still holds its slot until the server answers: the server is still busy with it.
import type { Priority } from "#codec/program.ts";

interface Waiter {
  readonly start: () => void;
}

export class RequestSlots {
  readonly #limit: number;
  readonly #idle = new Set<() => void>();
  #active = 0;
  readonly #waiting: Record<Priority, Set<Waiter>> = { high: new Set(), low: new Set() };

  constructor(limit: number) {
    this.#limit = limit;
  }

  get active(): number {
    return this.#active;
  }

  /** Calls start now or when a slot is free. The result takes the request out of the queue again (no effect once started). */
  acquire(priority: Priority, start: () => void): () => void {
    const waiter = { start };
    this.#waiting[priority].add(waiter);
    this.#advance();
    return () => void this.#waiting[priority].delete(waiter);
  }

  release(): void {
    this.#active -= 1;
    this.#advance();
    if (this.#active > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
  }

  /** Resolves when nothing is in flight (then nothing waits, either). */
  async idle(): Promise<void> {
    if (this.#active === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.add(resolve);
    await promise;
  }

  #advance(): void {
    while (this.#active < this.#limit) {
      const isLowAllowed = this.#limit === 1 || this.#active < this.#limit - 1;
      const queue = this.#waiting.high.size > 0 ? this.#waiting.high : isLowAllowed ? this.#waiting.low : null;
      const next = queue?.values().next().value;
      if (queue === null || next === undefined) return;
      queue.delete(next);
      this.#active += 1;
      next.start();
    }
  }
}
