/**
 * Several of libvirt's event subscriptions as one stream. Invariant: all are registered at the host before the first
 * event is handed out; when one ends with an error (the connection was lost, the consumer is too slow) all do.
 */
import type { EventSubscription } from "@innkeeper/libvirt";

/** Whatever type of events a subscription has, its map makes the one type of the merged stream; undefined is left out. */
interface EventSourceOf<T> {
  readonly ready: Promise<void>;
  next(): Promise<IteratorResult<T | undefined, undefined>>;
  end(): Promise<unknown>;
}

export function mapped<E, T>(subscription: EventSubscription<E>, map: (event: E) => T | undefined): EventSourceOf<T> {
  return {
    ready: subscription.ready,
    next: async () => {
      const result = await subscription.next();
      return result.done === true ? { done: true, value: undefined } : { done: false, value: map(result.value) };
    },
    end: () => subscription.return(),
  };
}

/** Ends when one of the sources ends; leaving the loop ends all of them at the host. */
export async function* mergeEvents<T>(sources: readonly EventSourceOf<T>[]): AsyncGenerator<T, void> {
  try {
    await Promise.all(sources.map((source) => source.ready));
    const pull = async (source: EventSourceOf<T>) => ({ source, result: await source.next() });
    const pending = new Map(sources.map((source) => [source, pull(source)]));
    for (;;) {
      const { source, result } = await Promise.race(pending.values());
      if (result.done === true) return;
      pending.set(source, pull(source));
      if (result.value !== undefined) yield result.value;
    }
  } finally {
    await Promise.all(sources.map((source) => source.end().catch(() => undefined)));
  }
}
