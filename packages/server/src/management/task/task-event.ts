/** The events that tell of tasks: started, succeeded, failed, cancelled; stored in the transaction of the task's change. */
import { newId } from "@innkeeper/contract/id.ts";
import type { EventSeverity } from "@innkeeper/contract/resource/event.ts";
import type { ResourceRef } from "@innkeeper/contract/resource/task.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Draft } from "#store/port.ts";

const severity: Readonly<Record<string, EventSeverity>> = { failed: "error", cancelled: "warning" };
/** What an operation made, by the name of the field of its result. */
const madeKind: Readonly<Record<string, string>> = {
  vmId: "vm",
  hostId: "host",
  snapshotId: "snapshot",
  volumeId: "volume",
  poolId: "storage-pool",
  networkId: "network",
  imageId: "image",
};

export function taskEvent(
  clock: Clock,
  task: Draft<"task">,
  what: "started" | "succeeded" | "failed" | "cancelled",
): Draft<"event"> {
  const subject = task.target === undefined ? "" : ` ${task.target.name ?? task.target.id}`;
  const again = task.retryOf === undefined ? "" : ` (retry of ${task.retryOf})`;
  const detail = task.error?.detail;
  return {
    id: newId("event"),
    time: timestamp(clock),
    type: `task.${what}`,
    severity: severity[what] ?? "info",
    message: `${task.operation}${subject}${again}: ${what}${detail === undefined ? "" : `: ${detail}`}`,
    resources: resources(task),
    user: task.createdBy,
    taskId: task.id,
  };
}

function resources(task: Draft<"task">): ResourceRef[] {
  const made = Object.entries(task.result ?? {}).flatMap(([field, id]): ResourceRef[] => {
    const kind = madeKind[field];
    return kind === undefined || typeof id !== "string" || id === task.target?.id ? [] : [{ kind, id }];
  });
  return task.target === undefined ? made : [task.target, ...made];
}
