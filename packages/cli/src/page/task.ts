/** Tasks and events for people. */
import type { Event } from "@innkeeper/contract/resource/event.ts";
import type { Task, TaskStep } from "@innkeeper/contract/resource/task.ts";
import { formatBytes, formatDurationMs } from "@innkeeper/contract/unit.ts";
import { age, ago, localTime } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";

export const taskColumns: readonly Column<Task>[] = [
  { name: "id", value: (task) => task.id },
  { name: "operation", value: (task) => task.operation },
  { name: "target", value: (task) => task.target?.name ?? task.target?.id ?? "" },
  { name: "state", value: (task) => task.state },
  { name: "progress", value: progressText, right: true },
  { name: "time", value: durationText, right: true },
  { name: "by", value: (task) => task.createdBy },
  { name: "age", value: (task) => age(task.createdAt), right: true },
  { name: "message", value: (task) => task.error?.detail ?? task.message },
];

function progressText({ progress }: Task): string {
  const { done, total, unit } = progress;
  if (unit === "byte") return `${formatBytes(done)}/${formatBytes(total)}`;
  return unit === "percent" ? `${Math.round(done)} %` : `${done}/${total}`;
}

function durationText(task: Pick<Task, "startedAt" | "finishedAt">): string {
  if (task.startedAt === undefined) return "";
  const endMs = task.finishedAt === undefined ? Date.now() : Date.parse(task.finishedAt);
  return formatDurationMs(Math.max(0, endMs - Date.parse(task.startedAt)));
}

const stepMark: Readonly<Record<TaskStep["state"], string>> = {
  pending: "·",
  running: "▸",
  done: "✔",
  undoing: "◂",
  undone: "↶",
  failed: "✘",
};

export function taskText(task: Task): string {
  const { target, error } = task;
  const pairs: [string, string][] = [
    ["id", task.id],
    ["operation", task.operation],
    ["target", target === undefined ? "" : `${target.kind} ${target.name ?? ""} (${target.id})`],
    ["state", task.cancelRequested && task.finishedAt === undefined ? `${task.state}, to be cancelled` : task.state],
    ["doing", task.message],
    ["progress", progressText(task)],
    ["by", task.createdBy],
    ["created", ago(task.createdAt)],
    ["time", durationText(task)],
    ["steps", task.steps.map((step) => `${stepMark[step.state]} ${step.name} ${durationText(step)}`).join("\n")],
  ];
  if (task.retryOf !== undefined) pairs.push(["retry of", task.retryOf]);
  if (task.result !== undefined) pairs.push(["result", JSON.stringify(task.result)]);
  if (error !== undefined) {
    pairs.push(["error", `${error.detail ?? error.title} (${error.code})`]);
    if (error.field !== undefined) pairs.push(["field", error.field]);
    if (error.remedy !== undefined) pairs.push(["what to do", error.remedy]);
  }
  if (task.unfinished !== undefined) {
    pairs.push(["half-done", `${task.unfinished.join(", ")}: go on with it by inn task retry ${task.id}`]);
  }
  return pairText(pairs);
}

export const eventColumns: readonly Column<Event>[] = [
  { name: "time", value: (event) => localTime(Date.parse(event.time)) },
  { name: "severity", value: (event) => event.severity },
  { name: "type", value: (event) => event.type },
  { name: "resource", value: (event) => event.resources.map(({ name, id }) => name ?? id).join(", ") },
  { name: "user", value: (event) => event.user ?? "" },
  { name: "message", value: (event) => event.message },
  { name: "task", value: (event) => event.taskId ?? "", extra: true },
  { name: "id", value: (event) => event.id, extra: true },
];
