/**
 * The stored life of one task: the public Task document, and a private record with the input, the cursor and the steps'
 * results, encrypted because inputs may hold credentials. Both change in one transaction, before the task goes on.
 */
import type { Problem } from "@innkeeper/contract/problem.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { SecretBox } from "#core/secret-box.ts";
import type { Claims } from "#management/task/operation.ts";
import { isRetryable } from "#management/task/retry.ts";
import type { Draft, Store, StoreTransaction } from "#store/port.ts";

export const taskSpace = "task";

export interface TaskRecord {
  readonly input: unknown;
  readonly claims: Claims;
  /** Of the place that its first step chose. */
  readonly chosen?: Claims;
  readonly direction: "do" | "undo";
  /** Of the step to do, or to undo, next; -1 when all are undone. */
  readonly cursor: number;
  /** Whether the `do` of the step at the cursor may have begun. */
  readonly begun: boolean;
  readonly results: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** How it ends once it is undone; `succeeded` for the retry of an undo, with what had gone wrong in the first place. */
  readonly end?: { readonly state: "succeeded" | "failed" | "cancelled"; readonly error: Problem };
}

export interface JournalChange {
  readonly task?: Partial<Draft<"task">>;
  readonly record?: Partial<TaskRecord>;
}

interface JournalDeps {
  readonly store: Store;
  readonly secretBox: SecretBox;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The store can't be written for so long that the task stops here, to be resumed at the next start. */
export class TaskParkedError extends Error {
  override readonly name = "TaskParkedError";
}

const storeRetryMs = 5000;
const storeTriesMax = 720; // an hour

export class TaskJournal {
  readonly #deps: JournalDeps;
  #task: Draft<"task">;
  /** The document as it is in the store, from which progress goes on: never ahead of the record. */
  #saved: Draft<"task">;
  #record: TaskRecord;

  constructor(deps: JournalDeps, task: Draft<"task">, record: TaskRecord) {
    this.#deps = deps;
    this.#task = task;
    this.#saved = task;
    this.#record = record;
  }

  get task(): Draft<"task"> {
    return this.#task;
  }

  get record(): TaskRecord {
    return this.#record;
  }

  /** The first entry, in the transaction that submits the task. */
  async create(transaction: StoreTransaction): Promise<Task> {
    await transaction.putPrivate(taskSpace, this.#task.id, this.#sealed());
    return transaction.put("task", this.#task);
  }

  /** Changes both, durable when it resolves. Waits and tries again while the store can't be written. */
  async save(
    change: JournalChange,
    signal: AbortSignal,
    also: (transaction: StoreTransaction) => Promise<void> = async () => {},
  ): Promise<void> {
    this.advance(change.task ?? {}, change.record ?? {});
    for (let tries = 1; ; tries++) {
      try {
        await this.#deps.store.transaction(async (transaction) => {
          await this.create(transaction);
          await also(transaction);
          this.#saved = this.#task;
        });
        return;
      } catch (error) {
        if (!isRetryable(error) || tries >= storeTriesMax) throw error;
        this.#deps.log.error({ err: error, taskId: this.#task.id }, "the store can't be written; the task waits");
        await this.#deps.clock.sleep(storeRetryMs, signal).catch(() => {
          throw new TaskParkedError("the server stops while the store can't be written", { cause: error });
        });
      }
    }
  }

  /** Changes both in memory, to be stored with the next `save`: a crash before it repeats what was done. */
  advance(task: Partial<Draft<"task">>, record: Partial<TaskRecord>): void {
    this.#task = { ...this.#task, ...task };
    this.#record = { ...this.#record, ...record };
  }

  /** Progress, on top of what was saved last: the public document alone; losing it does no harm. */
  async saveProgress(change: Partial<Draft<"task">>): Promise<void> {
    await this.#deps.store.transaction(async (transaction) => {
      if (this.#saved.finishedAt !== undefined) return;
      this.#saved = { ...this.#saved, ...change };
      await transaction.put("task", this.#saved);
    });
  }

  #sealed(): string {
    return this.#deps.secretBox.seal(JSON.stringify(this.#record), `task:${this.#task.id}`);
  }
}

/** The record of a stored task; undefined if there is none. */
export async function readRecord(
  transaction: StoreTransaction,
  secretBox: SecretBox,
  taskId: string,
): Promise<TaskRecord | undefined> {
  const sealed = await transaction.getPrivate(taskSpace, taskId);
  if (typeof sealed !== "string") return undefined;
  return JSON.parse(secretBox.open(sealed, `task:${taskId}`)) as TaskRecord;
}
