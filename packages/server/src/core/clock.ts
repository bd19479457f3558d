/** Time as the control plane sees it: a port, so that schedulers and HA run on a virtual clock in tests. */
export interface Clock {
  /** Milliseconds since 1970, may jump. For timestamps. */
  now(): number;
  /** Milliseconds that only grow. For durations and deadlines. */
  monotonicMs(): number;
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** RFC 3339 text of the clock's present. */
export function timestamp(clock: Clock): string {
  return new Date(clock.now()).toISOString();
}
