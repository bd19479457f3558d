/**
 * Who may run now: tasks that claim the same resource run one after another in the order in which they asked; limited
 * claims are counted. Invariant: a task holds all its claims or none, so two tasks can't wait for each other.
 */
import type { Claims } from "#management/task/operation.ts";

interface Waiter {
  readonly taskId: string;
  readonly claims: Claims;
  readonly granted: () => void;
}

export class ClaimTable {
  readonly #holders = new Map<string, string>();
  readonly #counts = new Map<string, number>();
  readonly #waiting: Waiter[] = [];

  /** Resolves when the claims are held; undefined when the signal aborts first. The result gives them back. */
  async acquire(taskId: string, claims: Claims, signal: AbortSignal): Promise<(() => void) | undefined> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { taskId, claims, granted: () => resolve(true) };
    this.#waiting.push(waiter);
    const onAbort = (): void => {
      const index = this.#waiting.indexOf(waiter);
      if (index === -1) return;
      this.#waiting.splice(index, 1);
      resolve(false);
      this.#grant();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    this.#grant();
    const granted = await promise;
    signal.removeEventListener("abort", onAbort);
    if (!granted) return undefined;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#release(claims);
    };
  }

  #grant(): void {
    const wanted = new Set<string>();
    for (const waiter of this.#waiting.slice()) {
      const { exclusive, limited = [] } = waiter.claims;
      const free =
        exclusive.every((key) => !this.#holders.has(key) && !wanted.has(key)) &&
        limited.every(({ key, max }) => (this.#counts.get(key) ?? 0) < max);
      if (!free) {
        for (const key of exclusive) wanted.add(key);
        continue;
      }
      for (const key of exclusive) this.#holders.set(key, waiter.taskId);
      for (const { key } of limited) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.granted();
    }
  }

  #release(claims: Claims): void {
    for (const key of claims.exclusive) this.#holders.delete(key);
    for (const { key } of claims.limited ?? []) {
      const count = (this.#counts.get(key) ?? 1) - 1;
      if (count === 0) this.#counts.delete(key);
      else this.#counts.set(key, count);
    }
    this.#grant();
  }
}
