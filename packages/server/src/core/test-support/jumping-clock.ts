/** Clocks whose wall time jumps, as when NTP or a hand sets it; monotonic time and waiting are those of the clock below. */
import type { Clock } from "#core/clock.ts";
import { systemClock } from "#core/system-clock.ts";

export const hourMs = 3_600_000;

/** By an hour, forward and back, each time that it is read. */
export function jumpingClock(base: Clock = systemClock): Clock {
  let reads = 0;
  return { ...base, now: () => base.now() + ((reads++ % 3) - 1) * hourMs };
}

/** Set by the test: so much it is ahead, or (below 0) behind. */
export class OffsetClock implements Clock {
  offsetMs = 0;

  now(): number {
    return systemClock.now() + this.offsetMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs();
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(delayMs, signal);
  }
}
