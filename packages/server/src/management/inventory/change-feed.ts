/**
 * The change log as a stream: from any revision that is still kept, without gap or repetition, then live. Readers pull,
 * so a slow one costs no memory; recent changes come from memory, older ones from the store.
 */
import { AppError } from "#core/app-error.ts";
import type { ChangeEntry, Store } from "#store/port.ts";

/** How many recent changes are kept in memory; a reader that lags more reads the store. */
const recentMax = 4096;
const storeBatch = 500;

export class ChangeFeed {
  readonly #store: Store;
  #recent: ChangeEntry[] = [];
  #revision: number;
  #committed = Promise.withResolvers<void>();

  constructor(store: Store, revision: number) {
    this.#store = store;
    this.#revision = revision;
  }

  get revision(): number {
    return this.#revision;
  }

  push(changes: readonly ChangeEntry[]): void {
    const last = changes.at(-1);
    if (last === undefined) return;
    for (const change of changes) this.#recent.push(change);
    if (this.#recent.length > recentMax * 2) this.#recent = this.#recent.slice(-recentMax);
    this.#arrive(last.revision);
  }

  /** What was before the revision is told by nobody any more: readers that have not come so far end, and can't be resumed. */
  skipTo(revision: number): void {
    this.#recent = [];
    this.#arrive(revision);
  }

  #arrive(revision: number): void {
    this.#revision = revision;
    const committed = this.#committed;
    this.#committed = Promise.withResolvers();
    committed.resolve();
  }

  /** precondition_failed unless every change after `since` can still be told. */
  async check(since: number): Promise<void> {
    // Told by another process that shares the store, and not read here yet.
    if (since > this.#revision) await this.#store.transaction(async () => {});
    if (since > this.#revision) {
      throw new AppError(
        "precondition_failed",
        `Revision ${since} has not happened yet (the latest is ${this.#revision}); the store was replaced.`,
        { field: "since", remedy: "List anew, then watch from the revision of that list." },
      );
    }
    if (since < this.#revision) await this.#after(since);
  }

  /** Changes after `since`, oldest first, for ever; ends when the signal aborts. See `check`. */
  async *read(since: number, signal: AbortSignal): AsyncGenerator<ChangeEntry, void> {
    await this.check(since);
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    let position = since;
    while (!signal.aborted) {
      const committed = this.#committed.promise;
      if (position >= this.#revision) {
        await Promise.race([committed, aborted]);
        continue;
      }
      for (const change of await this.#after(position)) {
        if (signal.aborted) return;
        yield change;
        position = change.revision;
      }
    }
  }

  async #after(position: number): Promise<readonly ChangeEntry[]> {
    const first = this.#recent[0]?.revision;
    if (first !== undefined && first <= position + 1) {
      const start = position + 1 - first;
      return this.#recent.slice(start, start + storeBatch);
    }
    return this.#store.changesSince(position, storeBatch);
  }
}
