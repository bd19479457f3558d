/** How long the steps of operations took so far: a moving average, from which the remaining time is estimated. */
import type { TaskProgress } from "@innkeeper/contract/resource/task.ts";
import type { StoreTransaction } from "#store/port.ts";

const space = "task-duration";
/** Weight of the latest run. */
const weight = 0.3;

type Durations = Readonly<Record<string, number>>;

export class DurationHistory {
  readonly #byOperation = new Map<string, Durations>();

  async load(transaction: StoreTransaction): Promise<void> {
    for (const { key, value } of await transaction.listPrivate(space)) this.#byOperation.set(key, value as Durations);
  }

  /** Takes in a task that succeeded, in the transaction that ends it. */
  async record(transaction: StoreTransaction, operation: string, taken: ReadonlyMap<string, number>): Promise<void> {
    const before = this.#byOperation.get(operation) ?? {};
    const after: Record<string, number> = { ...before };
    for (const [step, durationMs] of taken) {
      const average = before[step];
      after[step] = Math.round(average === undefined ? durationMs : average + weight * (durationMs - average));
    }
    this.#byOperation.set(operation, after);
    await transaction.putPrivate(space, operation, after);
  }

  /**
   * Remaining time of a task that is in the first of `steps` since `elapsedMs`: by the rate of its progress where it
   * tells one, else by earlier runs. undefined when nothing is known.
   */
  remainingMs(
    operation: string,
    steps: readonly string[],
    elapsedMs: number,
    progress: TaskProgress | undefined,
  ): number | undefined {
    const known = this.#byOperation.get(operation) ?? {};
    const [current, ...later] = steps;
    const byRate =
      progress !== undefined && progress.done > 0 && progress.total > progress.done && elapsedMs > 0
        ? (elapsedMs * (progress.total - progress.done)) / progress.done
        : undefined;
    const byHistory = current === undefined ? undefined : known[current];
    const now = byRate ?? (byHistory === undefined ? undefined : Math.max(0, byHistory - elapsedMs));
    if (now === undefined) return undefined;
    return Math.round(later.reduce((sum, step) => sum + (known[step] ?? 0), now));
  }
}
