/**
 * What was seen on a host is not lost because the store can't be written for a while (its disk is full, its database is
 * away): it is tried again until it can. Other errors are the caller's.
 */
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";

const retryMs = 5000;

interface StoreRetryDeps {
  readonly clock: Clock;
  readonly log: Logger;
}

/** Rejects with the signal's reason when it aborts before it has worked. `what` is for the log, which is told once. */
export async function untilStored(
  { clock, log }: StoreRetryDeps,
  what: string,
  work: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!isStoreAway(error)) throw error;
      // Who stops closes the store, too.
      signal.throwIfAborted();
      if (tries === 1) log.warn({ err: error }, `${what} can't be stored; it is tried again until it can`);
      await clock.sleep(retryMs, signal).catch(() => undefined);
    }
  }
}

function isStoreAway(error: unknown): boolean {
  return error instanceof AppError && error.retryable && ["store_unavailable", "disk_full"].includes(error.code);
}
