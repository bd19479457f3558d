/** A clock whose wall time jumps by an hour, forward and back, each time that it is read: as when NTP or a hand sets it. */
import type { Clock } from "#core/clock.ts";
import { systemClock } from "#core/system-clock.ts";

const hourMs = 3_600_000;

/** Monotonic time and waiting are `base`'s: no jump of the wall clock moves them. */
export function jumpingClock(base: Clock = systemClock): Clock {
  let reads = 0;
  return { ...base, now: () => base.now() + ((reads++ % 3) - 1) * hourMs };
}
