/**
 * Hosts whose connections are lost together are not connected to together: the first at once, each other one a moment
 * after the one before. With a fleet behind one switch that came back, each is read in its turn instead of all at once.
 */
import type { Clock } from "#core/clock.ts";

/** 100 hosts are asked within half a second, 2,500 within 13 s. */
const apartMs = 5;

export class ReconnectPace {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** How long the caller is to wait for its turn. */
  delayMs(): number {
    const nowMs = this.#clock.monotonicMs();
    const turnMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = turnMs + apartMs;
    return turnMs - nowMs;
  }
}
