/** Waiting for a condition of the outside world that announces itself to nobody: asks again, with a deadline. */
import { setTimeout as delay } from "node:timers/promises";

interface WaitOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
  /** Time between two questions; 20 ms unless told. */
  readonly intervalMs?: number;
}

/** Resolves with the first answer that is not undefined; rejects with `what` in the message after the deadline. */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
  options: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (performance.now() >= deadline) throw new Error(`waited ${options.timeoutMs} ms in vain for ${what}`);
    await delay(options.intervalMs ?? 20, undefined, { signal: options.signal });
  }
}
