/** Time that passes when a test lets it: what sleeps wakes at its moment, in order. */
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "#core/clock.ts";

export class VirtualClock implements Clock {
  readonly startMs = Date.parse("2026-01-01T00:00:00Z");
  readonly #sleeping = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  #ms = 0;

  now(): number {
    return this.startMs + this.#ms;
  }

  monotonicMs(): number {
    return this.#ms;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    return new Promise<void>((resolve, reject) => {
      const sleeper = { atMs: this.#ms + delayMs, wake: resolve };
      this.#sleeping.add(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleeping.delete(sleeper);
        reject(signal.reason);
      });
    });
  }

  async pass(forMs: number): Promise<void> {
    for (const endMs = this.#ms + forMs; this.#ms < endMs;) {
      await turn();
      this.#ms = Math.max(this.#ms, Math.min(endMs, ...[...this.#sleeping].map(({ atMs }) => atMs)));
      for (const sleeper of this.#sleeping) {
        if (sleeper.atMs > this.#ms) continue;
        this.#sleeping.delete(sleeper);
        sleeper.wake();
      }
    }
    await turn();
  }
}
