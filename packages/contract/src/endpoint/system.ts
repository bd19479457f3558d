/** Endpoints of tasks, events, the change log, and the control plane itself. */
import { Type } from "typebox";
import { AuditEntry } from "../resource/audit.ts";
import { Event } from "../resource/event.ts";
import { strict } from "../resource/base.ts";
import { Task } from "../resource/task.ts";
import { endpoints, ListQuery, PageOf, TaskQuery } from "./endpoint.ts";

/** One entry of `/watch`: an SSE message whose `id` is the revision and whose `data` is this. */
export const Change = Type.Object({
  revision: Type.Integer({ minimum: 1 }),
  kind: Type.String(),
  id: Type.String(),
  operation: Type.Unsafe<"put" | "delete">({ type: "string", enum: ["put", "delete"] }),
  resource: Type.Optional(Type.Unknown({ description: "the resource as it is now; absent when deleted" })),
});

export const System = Type.Object({
  version: Type.String(),
  revision: Type.Integer({ minimum: 0 }),
  startedAt: Type.String(),
  store: Type.String({ description: "sqlite, postgres" }),
  role: Type.Unsafe<"leader" | "follower">({
    type: "string",
    enum: ["leader", "follower"],
    description: "of several processes on one store one leads; the others pass on what only it can do",
  }),
  leaderUrl: Type.Optional(Type.String({ description: "where the leader is, as a follower knows it" })),
  nodeVersion: Type.String(),
  residentMiB: Type.Number(),
});

export const BackupCreate = Type.Object(
  {
    password: Type.String({
      minLength: 8,
      maxLength: 1024,
      description: "encrypts the backup; without it nobody can read it",
    }),
  },
  strict,
);

const WatchQuery = Type.Object(
  {
    since: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: "revision after which to begin; default: now. `Last-Event-ID` does the same",
      }),
    ),
    kind: Type.Optional(
      Type.String({ pattern: "^[a-z-]+(,[a-z-]+)*$", maxLength: 200, description: "only these kinds" }),
    ),
  },
  strict,
);

export const taskEndpoint = endpoints({
  taskList: {
    method: "GET",
    path: "/tasks",
    access: "task.read",
    summary: "Lists tasks.",
    query: ListQuery,
    status: 200,
    response: PageOf(Task),
  },
  taskGet: {
    method: "GET",
    path: "/tasks/{taskId}",
    access: "task.read",
    summary: "Shows a task; with waitMs, when it has ended.",
    query: TaskQuery,
    status: 200,
    response: Task,
  },
  taskCancel: {
    method: "POST",
    path: "/tasks/{taskId}/cancel",
    access: "task.cancel",
    summary: "Stops a task and undoes what it did.",
    status: 202,
    response: Task,
    query: TaskQuery,
  },
  taskRetry: {
    method: "POST",
    path: "/tasks/{taskId}/retry",
    access: "task.retry",
    summary:
      "Goes on, in a new task, with what a failed task left half-done: finishes it, or undoes it. Needs the privilege of the operation, too.",
    status: 202,
    response: Task,
    query: TaskQuery,
  },
});

/** Newest first, always; the trail is as long as it is, so nobody counts it. */
const { filter, limit, cursor } = ListQuery.properties;

export const eventEndpoint = endpoints({
  auditList: {
    method: "GET",
    path: "/audit",
    access: "audit.read",
    summary: "Lists the audit trail: every request, newest first.",
    query: Type.Object({ filter, limit, cursor }, strict),
    status: 200,
    response: Type.Object({ items: Type.Array(AuditEntry), nextCursor: Type.Optional(Type.String()) }),
  },
  eventList: {
    method: "GET",
    path: "/events",
    access: "event.read",
    summary: "Lists events, newest first.",
    query: ListQuery,
    status: 200,
    response: PageOf(Event),
  },
  watch: {
    method: "GET",
    path: "/watch",
    access: "event.read",
    summary:
      "Server-sent events of every change, resumable by revision. Kinds that the user may not read are left out.",
    query: WatchQuery,
    status: 200,
    responseType: "text/event-stream",
  },
});

export const systemEndpoint = endpoints({
  systemHealth: {
    method: "GET",
    path: "/health",
    access: "open",
    summary: "Whether the control plane is up and its store can be written.",
    status: 200,
    response: Type.Object({ status: Type.String() }),
  },
  systemGet: {
    method: "GET",
    path: "/system",
    access: "system.read",
    summary: "Version, revision and resources of the control plane.",
    status: 200,
    response: System,
  },
  systemMetrics: {
    method: "GET",
    path: "/metrics",
    alsoAt: "/metrics",
    access: "system.read",
    summary: "The latest metrics in Prometheus' text format; also at /metrics, where Prometheus looks.",
    query: Type.Object({ vms: Type.Optional(Type.Boolean({ description: "each VM's, too; default true" })) }, strict),
    status: 200,
    responseType: "text/plain",
  },
  systemBackup: {
    method: "POST",
    path: "/system/backup",
    access: "system.backup",
    summary:
      "A backup of the control plane as of now, encrypted with the password: store, key file and certificates; for `inn restore`.",
    body: BackupCreate,
    status: 200,
    responseType: "application/octet-stream",
  },
  systemOpenapi: {
    method: "GET",
    path: "/openapi.json",
    access: "open",
    summary: "This API as OpenAPI 3.1.",
    status: 200,
    response: Type.Record(Type.String(), Type.Unknown()),
  },
});
