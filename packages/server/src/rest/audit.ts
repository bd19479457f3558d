/**
 * What the audit trail gets of a request. Invariant: each is in it once, whatever its client does: when the answer is out;
 * or, if the client has left before that, when the work has ended all the same; what lasts (a watch, a console, a
 * download) when it begins.
 */
import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { operationName } from "@innkeeper/contract/endpoint/operation-name.ts";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { AuditResult } from "@innkeeper/contract/resource/audit.ts";
import { timestamp } from "#core/clock.ts";
import type { RestServices } from "#rest/service.ts";

const userMaxLength = 100;
const pathMaxLength = 500;

interface Outcome {
  readonly statusCode: number;
  readonly elapsedTime: number;
  /** The client has left before it had the whole answer. */
  readonly unanswered?: boolean;
}

/** By connection: requests that are not in the trail yet; several where a client does not wait for answers. */
const untold = new WeakMap<Socket, Map<FastifyRequest, FastifyReply>>();

/** To be called before anything else that looks at requests. */
export function auditEach(server: FastifyInstance, current: () => RestServices): void {
  const tellUnanswered = (request: FastifyRequest, { statusCode, elapsedTime }: FastifyReply): Promise<void> =>
    audit(current(), request, { statusCode, elapsedTime, unanswered: true });
  // At once: the connection may break with the next bytes.
  server.addHook("onRequest", (request, reply, done) => {
    openOf(request.raw.socket, tellUnanswered).set(request, reply);
    done();
  });
  server.addHook("onSend", (request, reply, _payload, done) => {
    request.inn.isDone = true;
    if (request.raw.socket.destroyed) void tellUnanswered(request, reply);
    done();
  });
  server.addHook("onResponse", (request, reply) => audit(current(), request, reply));
}

function openOf(
  socket: Socket,
  tellUnanswered: (request: FastifyRequest, reply: FastifyReply) => Promise<void>,
): Map<FastifyRequest, FastifyReply> {
  const known = untold.get(socket);
  if (known !== undefined) return known;
  const open = new Map<FastifyRequest, FastifyReply>();
  untold.set(socket, open);
  // What is still worked on is told when that has ended, with what came of it.
  socket.once("close", () => {
    for (const [request, reply] of open) if (request.inn.isDone) void tellUnanswered(request, reply);
  });
  return open;
}

/** Takes a request for told, as another process tells of it; true: it was not yet. */
export function takeForTold(request: FastifyRequest): boolean {
  return untold.get(request.raw.socket)?.delete(request) === true;
}

/** Whether something that is not in the trail yet came over the connection. */
export function hasUntold(socket: Socket): boolean {
  return (untold.get(socket)?.size ?? 0) > 0;
}

/** Once for each request: of what lasts when it begins. */
export async function audit(services: RestServices, request: FastifyRequest, outcome: Outcome): Promise<void> {
  if (takeForTold(request)) await record(services, request, outcome);
}

/** Of a request that no hook sees: its address can't be read. */
export async function record(services: RestServices, request: FastifyRequest, outcome: Outcome): Promise<void> {
  const { principal, taskId, errorCode, operationId } = request.inn;
  const httpStatus = outcome.statusCode;
  const target = targetOf(request);
  const user = principal?.user.name ?? (operationId === "login" ? nameIn(request.body) : undefined);
  await services.audit.record({
    time: timestamp(services.clock),
    address: request.inn.address,
    action: operationId === undefined ? "unknown" : operationName(operationId),
    result: resultOf(httpStatus, taskId),
    method: request.method,
    path: (request.url.split("?", 1)[0] ?? "").slice(0, pathMaxLength),
    httpStatus,
    durationMs: Math.round(outcome.elapsedTime),
    requestId: request.id,
    ...(outcome.unanswered === true ? { unanswered: true } : {}),
    ...(user === undefined ? {} : { user: user.slice(0, userMaxLength) }),
    ...(target === undefined ? {} : { target }),
    ...(errorCode === undefined ? {} : { errorCode }),
    ...(taskId === undefined ? {} : { taskId }),
    ...(principal === undefined ? {} : { credential: principal.tokenId ?? principal.credentialType }),
  });
}

export interface Unread {
  /** undefined: the connection is gone already. */
  readonly address: string | undefined;
  readonly httpStatus: number;
  readonly errorCode: ErrorCode;
}

/** Of what could not even be read as a request; nothing of it is known but where it came from. */
export async function recordUnread(services: RestServices, { address, ...outcome }: Unread): Promise<void> {
  await services.audit.record({
    ...outcome,
    time: timestamp(services.clock),
    address: address ?? "unknown",
    action: "unknown",
    result: resultOf(outcome.httpStatus, undefined),
    method: "",
    path: "",
    durationMs: 0,
    requestId: randomUUID(),
  });
}

function resultOf(httpStatus: number, taskId: string | undefined): AuditResult {
  if (httpStatus >= 500) return "failed";
  if (httpStatus >= 400) return "refused";
  return taskId === undefined ? "succeeded" : "accepted";
}

/** Ids of the path, else of what was made, else the name that was given. */
function targetOf({ params, inn, body, method }: FastifyRequest): string | undefined {
  const ids = Object.values((params ?? {}) as Readonly<Record<string, string>>);
  if (inn.operationId !== undefined && ids.length > 0) return ids.join("/").slice(0, userMaxLength);
  return (
    inn.target ?? (method === "GET" || inn.operationId === "login" ? undefined : nameIn(body)?.slice(0, userMaxLength))
  );
}

function nameIn(body: unknown): string | undefined {
  const name = typeof body === "object" && body !== null ? (body as { name?: unknown }).name : undefined;
  return typeof name === "string" ? name : undefined;
}
