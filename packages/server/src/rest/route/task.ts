/** Tasks: shown, waited for, cancelled, tried again; and every endpoint that answers with one submits the operation of its name. */
import type { Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { operationName } from "@innkeeper/contract/endpoint/operation-name.ts";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import type { HandlerContext, HandlerTable } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

const keyMax = 200;

export function taskHandlers(services: RestServices): HandlerTable {
  const { tasks, inventory } = services;
  const waited = (task: Task, context: HandlerContext<OperationId>): Promise<Task> | Task => {
    const waitMs = (context.query as { waitMs?: number } | undefined)?.waitMs ?? 0;
    return waitMs === 0 ? task : tasks.wait(task.id, waitMs, context.signal);
  };
  const table: HandlerTable = {
    taskGet: (context) =>
      waited(
        inventory.require("task", context.parameters.taskId, { field: "taskId" }),
        context as HandlerContext<OperationId>,
      ),
    taskCancel: async (context) =>
      waited(await tasks.cancel(context.parameters.taskId), context as HandlerContext<OperationId>),
    taskRetry: async (context) => {
      const { id, operation } = inventory.require("task", context.parameters.taskId, { field: "taskId" });
      // What goes on is the operation itself: who may not begin it may not finish it.
      const [, begun] = Object.entries<Endpoint>(endpoint).find(([name]) => operationName(name) === operation) ?? [];
      if (begun !== undefined && begun.access !== "open") services.access.authorize(context.principal, begun.access);
      return waited(await tasks.retry(id, context.userName), context as HandlerContext<OperationId>);
    },
  };
  const known = new Set(tasks.operationNames);
  const submitting = Object.entries<Endpoint>(endpoint).flatMap(([operationId, each]) => {
    const name = operationName(operationId);
    if (each.status !== 202 || operationId in table || !known.has(name)) return [];
    const handler = async (context: HandlerContext<OperationId>): Promise<Task> => {
      const key = idempotencyKey(context);
      const task = await tasks.submit(name, taskInput(each, context), {
        userName: context.userName,
        ...(context.ifRevision === undefined ? {} : { ifRevision: context.ifRevision }),
        ...(key === undefined ? {} : { idempotencyKey: key }),
      });
      void context.reply.header("location", `/api/v1/tasks/${task.id}`);
      return waited(task, context);
    };
    return [[operationId, handler] as const];
  });
  return { ...table, ...Object.fromEntries(submitting) };
}

/** The input of an operation: path parameters, query but for the waiting, and the body as `request`. */
function taskInput(each: Endpoint, context: HandlerContext<OperationId>): Record<string, unknown> {
  const { waitMs: _, ...query } = (context.query ?? {}) as Record<string, unknown>;
  return { ...context.parameters, ...query, ...(each.body === undefined ? {} : { request: context.body }) };
}

/** draft-ietf-httpapi-idempotency-key-header */
function idempotencyKey({ request }: HandlerContext<OperationId>): string | undefined {
  const key = request.headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key === "string" && key.length > 0 && key.length <= keyMax) return key;
  throw new AppError("bad_request", `Idempotency-Key must have 1 to ${keyMax} characters.`, {
    field: "Idempotency-Key",
  });
}
