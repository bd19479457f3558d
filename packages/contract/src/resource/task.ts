/** A task: one operation on one resource, as a list of steps that are done, or undone, whatever crashes. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Problem } from "../problem.ts";
import { baseFields, Time } from "./base.ts";

/** `rolling-back` ends as failed or cancelled. A task that ended never changes again. */
export const taskStates = ["queued", "running", "rolling-back", "succeeded", "failed", "cancelled"] as const;
export type TaskState = (typeof taskStates)[number];
export const taskStepStates = ["pending", "running", "done", "undoing", "undone", "failed"] as const;
export type TaskStepState = (typeof taskStepStates)[number];

export const TaskProgress = Type.Object({
  done: Type.Number({ minimum: 0 }),
  total: Type.Number({ minimum: 0 }),
  unit: Type.Unsafe<"step" | "byte" | "percent">({ type: "string", enum: ["step", "byte", "percent"] }),
});
export type TaskProgress = Static<typeof TaskProgress>;

export const TaskStep = Type.Object({
  name: Type.String(),
  state: Type.Unsafe<TaskStepState>({ type: "string", enum: taskStepStates }),
  startedAt: Type.Optional(Time),
  finishedAt: Type.Optional(Time),
});
export type TaskStep = Static<typeof TaskStep>;

export const ResourceRef = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  name: Type.Optional(Type.String()),
  vmId: Type.Optional(Type.String({ description: "of a snapshot: its VM" })),
});
export type ResourceRef = Static<typeof ResourceRef>;

/** What is done to a snapshot is done to its VM. */
export function isAbout(target: ResourceRef | undefined, id: string): boolean {
  return target !== undefined && (target.id === id || target.vmId === id);
}

export const Task = Type.Object({
  ...baseFields("task"),
  operation: Type.String({ description: "e.g. vm.create" }),
  target: Type.Optional(ResourceRef),
  state: Type.Unsafe<TaskState>({ type: "string", enum: taskStates }),
  cancelRequested: Type.Boolean(),
  progress: TaskProgress,
  estimatedRemainingMs: Type.Optional(Type.Number({ minimum: 0 })),
  message: Type.String({ description: "what it is doing, for people" }),
  steps: Type.Array(TaskStep),
  result: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  error: Type.Optional(Problem),
  unfinished: Type.Optional(
    Type.Array(Type.String(), {
      description: "steps that it left half-done (not finished, or not undone): taskRetry goes on with them",
    }),
  ),
  retryOf: Type.Optional(IdOf("task")),
  createdBy: Type.String({ description: "user name, or `system`" }),
  createdAt: Time,
  startedAt: Type.Optional(Time),
  finishedAt: Type.Optional(Time),
});
export type Task = Static<typeof Task>;
