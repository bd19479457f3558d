/** Errors on the wire: problem+json (RFC 9457) for everything that fails, with the request's id; 5xx show no detail of ours. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { problemContentType } from "@innkeeper/contract/problem.ts";
import { AppError, toProblem } from "#core/app-error.ts";
import type { Logger } from "#core/log.ts";

/** Fastify's own refusals: https://fastify.dev/docs/latest/Reference/Errors/ */
const fastifyMeaning: Readonly<Record<string, () => AppError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new AppError("too_large", "The body is larger than this endpoint takes."),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new AppError("bad_request", "The body's Content-Type is not the one that this endpoint takes.", {
      field: "Content-Type",
    }),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () =>
    new AppError("bad_request", "The body is not as long as Content-Length says.", { field: "Content-Length" }),
  FST_ERR_CTP_EMPTY_JSON_BODY: () => new AppError("bad_request", "The body is empty."),
};

/** The AppError that any error means. */
export function asAppError(error: unknown): unknown {
  if (error instanceof AppError || !(error instanceof Error)) return error;
  if (error.name === "TimeoutError") {
    return new AppError("timeout", "The host did not answer in time.", { cause: error });
  }
  const code = "code" in error ? String(error.code) : "";
  const meaning = fastifyMeaning[code];
  if (meaning !== undefined) return meaning();
  const status = "statusCode" in error ? Number(error.statusCode) : 500;
  if (code.startsWith("FST_") && status >= 400 && status < 500) return new AppError("bad_request", error.message);
  return error;
}

export function sendError(log: Logger, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = asAppError(error);
  const problem = toProblem(known, request.id);
  const fields = { requestId: request.id, method: request.method, url: request.routeOptions.url, code: problem.code };
  if (!(known instanceof AppError) || problem.status === 500) log.error({ ...fields, err: error }, "a request failed");
  else log.debug({ ...fields, detail: problem.detail }, "a request was refused");
  if (problem.status === 401) void reply.header("www-authenticate", 'Bearer realm="innkeeper"');
  const retryAfter = problem.fault?.["retryAfterSeconds"];
  if (typeof retryAfter === "number") void reply.header("retry-after", String(retryAfter));
  return reply.code(problem.status).type(problemContentType).send(JSON.stringify(problem));
}
