/** Reads a request as the contract has it: path, query, body, headers, who asks, and how long it may take. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { type Endpoint, kindOfParameter } from "@innkeeper/contract/endpoint/endpoint.ts";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { idPrefix, isId } from "@innkeeper/contract/id.ts";
import { AppError } from "#core/app-error.ts";
import type { Principal } from "#management/access/access.ts";
import { kindTitle } from "#management/inventory/inventory.ts";
import type { HandlerContext } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";
import { validateBody, validateQuery } from "#rest/validation.ts";

/** Handlers that ask a host at once are given so long. */
const askTimeoutMs = 30_000;
/** These last as long as the client wants. */
const unlimited: ReadonlySet<string> = new Set([
  "watch",
  "vmConsole",
  "volumeUpload",
  "volumeDownload",
  "imageUpload",
  "systemBackup",
]);
/** A wait that the client asked for (TaskQuery) and what it needs besides. */
const waitTimeoutMs = 60_000 + askTimeoutMs;

interface RequestState {
  principal: Principal | undefined;
  /** Left by handlers for the audit trail. */
  taskId: string | undefined;
  errorCode: ErrorCode | undefined;
  /** Of the operation that was asked for; undefined: there is no such endpoint. */
  operationId: string | undefined;
  /** Its work has ended; at most the answer is still on its way. */
  isDone: boolean;
  /** Id or name of what it was about. */
  target: string | undefined;
  /** The client's own. */
  readonly address: string;
  /** It came through another process that shares the store. */
  readonly isPassedOn: boolean;
}

declare module "fastify" {
  interface FastifyRequest {
    inn: RequestState;
  }
}

/** What a handler is given; refuses a path, query, body or header that is not the contract's. */
export function requestContext(
  services: RestServices,
  operationId: string,
  each: Endpoint,
  request: FastifyRequest,
  reply: FastifyReply,
): HandlerContext<OperationId> {
  const parameters = readParameters(request.params as Readonly<Record<string, string>>);
  const query = validateQuery(each.query, request.query);
  const body = readBody(each, request);
  const ifRevision = readIfMatch(request);
  const { principal } = request.inn;
  let signal: AbortSignal | undefined;
  return {
    parameters: parameters as never,
    query: query as never,
    body: body as never,
    get principal(): Principal {
      if (principal === undefined) throw new AppError("unauthenticated", "This needs a login.");
      return principal;
    },
    userName: principal?.user.name ?? "nobody",
    // Most requests are answered from memory and never look at it.
    get signal(): AbortSignal {
      return (signal ??= requestSignal(services, operationId, reply));
    },
    ...(ifRevision === undefined ? {} : { ifRevision }),
    address: request.inn.address,
    request,
    reply,
  };
}

/** Ids alone: one thing has one name in what is claimed, listed and audited. */
function readParameters(parameters: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [field, value] of Object.entries(parameters)) {
    const kind = kindOfParameter(field);
    if (isId(kind, value)) continue;
    throw new AppError("not_found", `There is no ${kindTitle(kind)} with the id ${JSON.stringify(value)}.`, {
      field,
      remedy: `A path takes an id (${idPrefix[kind]}-…); the list with ?filter=name=… finds it by name.`,
    });
  }
  return parameters;
}

function readBody(each: Endpoint, request: FastifyRequest): unknown {
  if (each.bodyType !== undefined) {
    if (request.headers["content-type"]?.split(";")[0]?.trim() === each.bodyType) return undefined;
    throw new AppError("bad_request", `The body must be ${each.bodyType}.`, { field: "Content-Type" });
  }
  const isEmpty = request.body === undefined || request.body === null;
  if (each.body === undefined) {
    if (isEmpty) return undefined;
    throw new AppError("bad_request", "This endpoint takes no body.");
  }
  // Every field of some bodies is optional: none at all is the same as {}.
  const nothingRequired = ((each.body as { required?: readonly string[] }).required ?? []).length === 0;
  if (request.body === undefined) {
    if (!nothingRequired) throw new AppError("bad_request", "The body is missing; it must be application/json.");
    return validateBody(each.body, {});
  }
  return validateBody(each.body, request.body);
}

/** RFC 9110 §13.1.1, for the strong ETags that this API gives: `"17"`. */
function readIfMatch(request: FastifyRequest): number | undefined {
  const header = request.headers["if-match"];
  if (header === undefined || header === "*" || request.method === "GET") return undefined;
  const [, revision] = /^"(\d{1,15})"$/.exec(header) ?? [];
  if (revision !== undefined) return Number(revision);
  throw new AppError("bad_request", "If-Match must be the ETag of one resource as it was read, in quotes.", {
    field: "If-Match",
  });
}

/** Aborts when the client goes away, the server stops, or the time is over. Its timer and listeners go with the answer. */
function requestSignal(services: RestServices, operationId: string, reply: FastifyReply): AbortSignal {
  const { stop } = services;
  const ended = new AbortController();
  const onStop = (): void => ended.abort(stop.reason);
  stop.addEventListener("abort", onStop, { once: true });
  if (stop.aborted) onStop();
  const timer = unlimited.has(operationId)
    ? undefined
    : setTimeout(() => ended.abort(new DOMException("the request took too long", "TimeoutError")), waitTimeoutMs);
  const onClose = (): void => {
    clearTimeout(timer);
    stop.removeEventListener("abort", onStop);
    if (!reply.raw.writableFinished) ended.abort(new AppError("cancelled", "The client went away."));
  };
  // Whoever left before the first look at the signal closes nothing any more.
  if (reply.raw.destroyed) onClose();
  else reply.raw.once("close", onClose);
  return ended.signal;
}
