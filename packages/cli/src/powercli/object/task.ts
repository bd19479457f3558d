/** A task as PowerCLI shows it. Facts: TaskState of VMware.VimAutomation.ViCore.Types.V1. */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { localTime } from "#output/time.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";

export const taskStates = ["Queued", "Running", "Success", "Error", "Cancelled"] as const;

const stateOf: Readonly<Record<Task["state"], (typeof taskStates)[number]>> = {
  queued: "Queued",
  running: "Running",
  "rolling-back": "Running",
  succeeded: "Success",
  failed: "Error",
  cancelled: "Cancelled",
};

interface TaskObject {
  readonly Name: string;
  readonly Id: string;
  readonly State: (typeof taskStates)[number];
  readonly PercentComplete: number;
  readonly ObjectId: string | null;
  readonly Target: string | null;
  readonly Description: string;
  readonly User: string;
  readonly StartTime: string | null;
  readonly FinishTime: string | null;
  readonly Error: string | null;
}

export function taskObject(task: Task): TaskObject {
  const { done, total } = task.progress;
  const isDone = task.state === "succeeded";
  return {
    Name: task.operation,
    Id: task.id,
    State: stateOf[task.state],
    PercentComplete: isDone ? 100 : total === 0 ? 0 : Math.min(100, Math.floor((done / total) * 100)),
    ObjectId: task.target?.id ?? null,
    Target: task.target?.name ?? null,
    Description: task.message,
    User: task.createdBy,
    StartTime: task.startedAt ?? null,
    FinishTime: task.finishedAt ?? null,
    Error: task.error === undefined ? null : (task.error.detail ?? task.error.title),
  };
}

export const taskKind: ObjectKind<TaskObject> = {
  columns: [
    { name: "Name", value: (task) => task.Name },
    { name: "State", value: (task) => task.State },
    { name: "% Complete", value: (task) => String(task.PercentComplete), right: true },
    { name: "Start Time", value: (task) => timeText(task.StartTime) },
    { name: "Finish Time", value: (task) => timeText(task.FinishTime) },
    { name: "Target", value: (task) => task.Target ?? "", extra: true },
    { name: "Id", value: (task) => task.Id, extra: true },
  ],
};

function timeText(time: string | null): string {
  return time === null ? "" : localTime(Date.parse(time));
}
