/** Calls with a deadline of their own. Unlike with AbortSignal.timeout, nothing is kept of one that has ended. */
import type { Call } from "#core/call.ts";

/** Runs `work` with a signal that aborts with `signal`, or with a TimeoutError when the time is over. */
export async function within<T>(signal: AbortSignal, deadlineMs: number, work: (call: Call) => Promise<T>): Promise<T> {
  const over = new AbortController();
  const onAbort = (): void => over.abort(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  const onTimeout = (): void => over.abort(new DOMException("the deadline has passed", "TimeoutError"));
  const timer = setTimeout(onTimeout, deadlineMs);
  try {
    return await work({ signal: over.signal });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
