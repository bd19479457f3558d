/** How often and how soon what failed is tried again: exponential back-off with jitter, bounded in number. */
import { AppError } from "#core/app-error.ts";

export interface RetryPolicy {
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  /** Tries after an error that may pass by itself (host unreachable, timeout, no space …). */
  readonly retryableTries: number;
  /** Tries after any other error. */
  readonly otherTries: number;
}

/** Undo, and steps after the point of no return: about 25 minutes for a host that comes back, seconds for a bug. */
export const mustSucceed: RetryPolicy = { firstDelayMs: 500, maxDelayMs: 60_000, retryableTries: 32, otherTries: 3 };
/** As long as a libvirtd that is restarted needs, also after a start of ours: about 30 seconds. */
export const brief: RetryPolicy = { firstDelayMs: 500, maxDelayMs: 16_000, retryableTries: 7, otherTries: 3 };
/** Each other step of a task that a start took up: its hosts are being connected, or may still be booting. About 10 minutes. */
export const resumed: RetryPolicy = { firstDelayMs: 500, maxDelayMs: 30_000, retryableTries: 26, otherTries: 1 };
export const once: RetryPolicy = { firstDelayMs: 0, maxDelayMs: 0, retryableTries: 1, otherTries: 1 };

export function isRetryable(error: unknown): boolean {
  return error instanceof AppError && error.retryable;
}

/** Delay before the next try after `tries` of them, or undefined when that was the last. */
export function nextDelayMs(
  policy: RetryPolicy,
  tries: number,
  error: unknown,
  random: () => number = Math.random,
): number | undefined {
  if (tries >= (isRetryable(error) ? policy.retryableTries : policy.otherTries)) return undefined;
  const delayMs = Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** (tries - 1));
  return delayMs * (0.75 + random() / 2);
}
