/** What the audit trail gets of a request. */
import type { FastifyRequest } from "fastify";
import { operationName } from "@innkeeper/contract/endpoint/operation-name.ts";
import type { AuditResult } from "@innkeeper/contract/resource/audit.ts";
import { timestamp } from "#core/clock.ts";
import type { RestServices } from "#rest/service.ts";

const userMaxLength = 100;
const pathMaxLength = 500;

export interface Outcome {
  readonly statusCode: number;
  readonly elapsedTime: number;
}

/** Once for each request: of what lasts (a watch, a console) when it begins. */
export async function audit(services: RestServices, request: FastifyRequest, outcome: Outcome): Promise<void> {
  const { principal, taskId, errorCode, operationId, isAudited } = request.inn;
  if (isAudited) return;
  request.inn.isAudited = true;
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
    ...(user === undefined ? {} : { user: user.slice(0, userMaxLength) }),
    ...(target === undefined ? {} : { target }),
    ...(errorCode === undefined ? {} : { errorCode }),
    ...(taskId === undefined ? {} : { taskId }),
    ...(principal === undefined ? {} : { credential: principal.tokenId ?? principal.credentialType }),
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
