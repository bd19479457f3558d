/**
 * Trying again what a failed task left half-done: a new task takes over its stored record, cursor and results, and goes on
 * in the same direction. Invariants: a record is taken over once; nothing is gone on with after another task has worked
 * on the same resources, for what the steps would finish or restore is no longer what is there.
 */
import { newId } from "@innkeeper/contract/id.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { SecretBox } from "#core/secret-box.ts";
import { readRecord, type TaskRecord } from "#management/task/journal.ts";
import type { Operation } from "#management/task/operation.ts";
import { fitSteps } from "#management/task/stored-step.ts";
import type { Draft, StoreTransaction } from "#store/port.ts";

export interface Retry {
  readonly draft: Draft<"task">;
  readonly record: TaskRecord;
}

/** In the transaction that stores the new task. invalid_state or conflict when there is nothing, or no way, to go on with. */
export async function takeOver(
  transaction: StoreTransaction,
  deps: { readonly secretBox: SecretBox; readonly clock: Clock },
  task: Task,
  operation: Operation,
  userName: string,
): Promise<Retry> {
  if (task.unfinished === undefined) throw nothingLeft(task);
  const tasks = await transaction.list("task");
  const successor = tasks.find((each) => each.retryOf === task.id);
  if (successor !== undefined) {
    throw new AppError("conflict", `Task ${task.id} was tried again already: task ${successor.id}.`, {
      field: "taskId",
      remedy: `See inn task show ${successor.id}; if that failed, too, try it again.`,
    });
  }
  const record = await readRecord(transaction, deps.secretBox, task.id);
  if (record?.input === undefined) throw recordLost(task);
  await refuseOvertaken(transaction, deps.secretBox, task, record, tasks);
  const isUndo = record.direction === "undo";
  const error = record.end?.error ?? task.error;
  const retry: Retry = {
    draft: {
      id: newId("task"),
      operation: task.operation,
      ...(task.target === undefined ? {} : { target: task.target }),
      state: "queued",
      cancelRequested: false,
      progress: { done: 0, total: task.steps.length, unit: "step" },
      message: `waiting for its turn to ${isUndo ? "undo" : "finish"} what task ${task.id} left`,
      steps: task.steps.map(({ name, state }) => ({ name, state: state === "failed" && !isUndo ? "pending" : state })),
      createdBy: userName,
      createdAt: timestamp(deps.clock),
      retryOf: task.id,
    },
    record: { ...record, ...(isUndo && error !== undefined ? { end: { state: "succeeded", error } } : {}) },
  };
  const fitting = fitSteps(operation, retry);
  if (fitting === undefined) throw stepsLost(task);
  return fitting;
}

function nothingLeft(task: Task): AppError {
  const hasEnded = task.finishedAt !== undefined;
  const why = hasEnded ? "it left nothing half-done" : "it has not ended";
  return new AppError("invalid_state", `Task ${task.id} is ${task.state} and can't be tried again: ${why}.`, {
    field: "taskId",
    remedy: hasEnded ? "Make the request again." : "Wait for its end.",
  });
}

/** prepareForRecheck leaves none: what the hosts have is no longer what the steps knew. */
function recordLost(task: Task): AppError {
  return new AppError(
    "conflict",
    `Task ${task.id} can't be gone on with: the control plane was restored or recovered since, and how far it came is not known any more. Nothing was changed.`,
    { field: "taskId", remedy: "Put right by hand what is left; the task's error names it." },
  );
}

function stepsLost(task: Task): AppError {
  return new AppError(
    "conflict",
    `Task ${task.id} can't be gone on with: this version of Innkeeper does ${task.operation} in other steps. Nothing was changed.`,
    { field: "taskId", remedy: "Put right by hand what is left; the task's error names it." },
  );
}

/** A task that ran later under one of the same exclusive claims. */
async function refuseOvertaken(
  transaction: StoreTransaction,
  secretBox: SecretBox,
  task: Task,
  { claims }: TaskRecord,
  tasks: readonly Task[],
): Promise<void> {
  for (const later of tasks) {
    if (later.revision <= task.revision || later.startedAt === undefined) continue;
    const other = await readRecord(transaction, secretBox, later.id);
    if (other?.claims.exclusive.some((key) => claims.exclusive.includes(key)) !== true) continue;
    throw new AppError(
      "conflict",
      `Task ${later.id} (${later.operation}) has worked on the same since task ${task.id} failed: going on could undo what it did. Nothing was changed.`,
      { field: "taskId", remedy: "Put right by hand what is left; the task's error names it." },
    );
  }
}
