// One subscription as an async iterator. Events wait in a bounded queue: a consumer that falls too far behind gets an
// error instead of a silent gap. The loop ends when the signal fires or the connection is closed here, and throws when
// the connection is lost. Leaving the loop, by any way, deregisters at the server.

/** The consumer was too slow: events after the queue's last are missed, state must be read anew. */
export class EventOverflowError extends Error {
  override readonly name = "EventOverflowError";
}

/** Of the messages that the queued events came in: the count alone does not bound them, an event may hold megabytes. */
const QUEUE_BYTES_MAX = 67_108_864;

type Waiter<T> = PromiseWithResolvers<IteratorResult<T, undefined>>;

export class EventSubscription<T> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  /** Resolves when the server has registered the subscription: from here on no event is missed. */
  readonly ready: Promise<void>;
  /** Resolves when the subscription is over, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #resolveEnded: () => void;
  readonly #limit: number;
  readonly #deregister: () => Promise<void>;
  #queue: { readonly event: T; readonly byteLength: number }[] = [];
  #queuedBytes = 0;
  #waiters: Waiter<T>[] = [];
  #end: { error: Error | null } | null = null;

  /** @param register resolves when the server confirmed; deregister is called once, after that. */
  constructor(register: (self: EventSubscription<T>) => Promise<void>, deregister: () => Promise<void>, limit: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
    this.#limit = limit;
    this.#deregister = deregister;
    this.ready = register(this);
    this.ready.catch((error: unknown) => this.finish(error instanceof Error ? error : new Error(String(error))));
  }

  /** For the source of the events. @param byteLength of its message. */
  push(event: T, byteLength: number): void {
    if (this.#end !== null) return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) return waiter.resolve({ value: event, done: false });
    if (this.#queue.length >= this.#limit || this.#queuedBytes + byteLength > QUEUE_BYTES_MAX) {
      return this.overflow(`${this.#queue.length} events (${this.#queuedBytes} bytes) wait for their consumer`);
    }
    this.#queue.push({ event, byteLength });
    this.#queuedBytes += byteLength;
  }

  /** Events are missed from here on. @param why as the error's text begins. */
  overflow(why: string): void {
    void this.#stop(new EventOverflowError(`${why}, and no more are kept`));
  }

  /** No more events: null ends the loop after those that wait, an error is thrown after them. */
  finish(error: Error | null): void {
    if (this.#end !== null) return;
    this.#end = { error };
    for (const waiter of this.#waiters) {
      if (error === null) waiter.resolve({ value: undefined, done: true });
      else waiter.reject(error);
    }
    this.#waiters = [];
    this.#resolveEnded();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    const queued = this.#queue.shift();
    if (queued !== undefined) {
      this.#queuedBytes -= queued.byteLength;
      return { value: queued.event, done: false };
    }
    if (this.#end === null) {
      const waiter: Waiter<T> = Promise.withResolvers();
      this.#waiters.push(waiter);
      return waiter.promise;
    }
    const { error } = this.#end;
    this.#end.error = null;
    if (error !== null) throw error;
    return { value: undefined, done: true };
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#queue = [];
    this.#queuedBytes = 0;
    await this.#stop(null);
    return { value: undefined, done: true };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #stop(error: Error | null): Promise<void> {
    if (this.#end !== null) return;
    this.finish(error);
    await this.#deregister();
  }
}
