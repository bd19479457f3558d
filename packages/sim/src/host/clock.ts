// Time of the simulation. All that happens later is scheduled on a clock, so that a test can run hours in a moment and a
// demonstration can run faster than life. A host sees its own time: the simulation's plus what its clock was set off by.

export interface Clock {
  /** Wall time, in milliseconds since the epoch. */
  nowMs(): number;
  /** Runs something once after a time; returns what takes it back. */
  schedule(delayMs: number, run: () => void): () => void;
}

/** Rejects with the signal's reason when it aborts first. */
export function wait(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (signal?.aborted === true) {
    reject(signal.reason);
    return promise;
  }
  const onAbort = (): void => {
    cancel();
    reject(signal?.reason);
  };
  const cancel = clock.schedule(delayMs, () => {
    signal?.removeEventListener("abort", onAbort);
    resolve();
  });
  signal?.addEventListener("abort", onAbort, { once: true });
  return promise;
}

/** The machine's time as of now, and from now on at its own pace or `speed` times as fast. The machine's clock may jump. */
export class RealClock implements Clock, Disposable {
  readonly #speed: number;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #startMs = Date.now();
  readonly #startTickMs = performance.now();

  constructor(speed = 1) {
    this.#speed = speed;
  }

  nowMs(): number {
    return this.#startMs + (performance.now() - this.#startTickMs) * this.#speed;
  }

  schedule(delayMs: number, run: () => void): () => void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        run();
      },
      Math.max(0, delayMs) / this.#speed,
    );
    this.#timers.add(timer);
    return () => this.#cancel(timer);
  }

  /** Nothing that was scheduled happens any more. */
  [Symbol.dispose](): void {
    for (const timer of this.#timers) this.#cancel(timer);
  }

  #cancel(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }
}

interface Alarm {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Stands still until it is told to go on. */
export class VirtualClock implements Clock {
  #nowMs: number;
  #order = 0;
  #alarms: Alarm[] = [];

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, run: () => void): () => void {
    const alarm: Alarm = { atMs: this.#nowMs + Math.max(0, delayMs), order: (this.#order += 1), run };
    this.#alarms.push(alarm);
    return () => void (this.#alarms = this.#alarms.filter((each) => each !== alarm));
  }

  /** Lets time pass: what falls due runs in its order, and what that schedules too. Promises settle in between. */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      await settled();
      const next = this.#alarms.reduce<Alarm | null>((first, each) => (isBefore(each, first) ? each : first), null);
      if (next === null || next.atMs > endMs) break;
      this.#alarms = this.#alarms.filter((each) => each !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = endMs;
  }
}

function isBefore(left: Alarm, right: Alarm | null): boolean {
  return right === null || left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

/** One turn of the event loop: all promises that can settle have. */
function settled(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}

/** A host's view of the simulation's clock. */
export class HostClock implements Clock {
  readonly #base: Clock;
  /** What the host's wall clock is ahead of the simulation's; a fault sets it. */
  offsetMs = 0;

  constructor(base: Clock) {
    this.#base = base;
  }

  /** The host's wall clock: what it tells others. It may jump. */
  nowMs(): number {
    return this.#base.nowMs() + this.offsetMs;
  }

  /** Time that never jumps: for durations and counters. */
  steadyMs(): number {
    return this.#base.nowMs();
  }

  schedule(delayMs: number, run: () => void): () => void {
    return this.#base.schedule(delayMs, run);
  }
}
