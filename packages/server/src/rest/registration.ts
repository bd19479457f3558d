/**
 * Makes a route of every endpoint of the contract's table, and of nothing else. Each does the same in the same order:
 * authentication, privilege, then the schemas, then the handler. An endpoint without a handler stops the start.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Endpoint, apiPrefix } from "@innkeeper/contract/endpoint/endpoint.ts";
import { operationName } from "@innkeeper/contract/endpoint/operation-name.ts";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { bearerSecret } from "#rest/authentication.ts";
import type { Handler } from "#rest/handler.ts";
import { requestContext } from "#rest/request-context.ts";
import { consoleRoute } from "#rest/route/console-route.ts";
import { handlerTable } from "#rest/route/table.ts";
import type { RestServices } from "#rest/service.ts";

export function registerEndpoints(server: FastifyInstance, services: RestServices): void {
  const handlers = handlerTable(services) as Readonly<Record<string, Handler<OperationId> | undefined>>;
  const missing = Object.keys(endpoint).filter((operationId) => handlers[operationId] === undefined);
  if (missing.length > 0) throw new Error(`endpoints without a handler: ${missing.join(", ")}`);
  for (const [operationId, each] of Object.entries<Endpoint>(endpoint)) {
    const handler = handlers[operationId];
    if (handler === undefined) continue;
    const route = {
      method: each.method,
      url: apiPrefix + each.path.replace(/\{(\w+)\}/g, ":$1"),
      onRequest: (request: FastifyRequest) => admit(services, each, request),
      onResponse: async (request: FastifyRequest, reply: FastifyReply) => {
        const fields = {
          requestId: request.id,
          httpStatus: reply.statusCode,
          elapsedMs: Math.round(reply.elapsedTime),
        };
        services.log.debug(fields, operationId);
        await audit(services, operationId, each, request, reply);
      },
    };
    if (each.responseType === "websocket") server.route(consoleRoute(route, each, services));
    else {
      server.route({
        ...route,
        handler: (request, reply) => handle(services, operationId, each, handler, request, reply),
      });
    }
  }
}

async function admit(services: RestServices, each: Endpoint, request: FastifyRequest): Promise<void> {
  if (each.access === "open") return;
  request.inn.principal = await services.access.authenticate(bearerSecret(request));
  services.access.authorize(request.inn.principal, each.access);
}

async function handle(
  services: RestServices,
  operationId: string,
  each: Endpoint,
  handler: Handler<OperationId>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const context = requestContext(services, operationId, each, request, reply);
  void reply.code(each.status);
  const result: unknown = await handler(context);
  if (reply.sent || reply.raw.headersSent) return reply;
  if (each.status === 202) request.inn.taskId = (result as { id: string }).id;
  if (each.status === 204 || result === undefined) return reply.send();
  const revision = (result as { revision?: unknown }).revision;
  const isResource = typeof revision === "number" && "id" in (result as object);
  if (isResource) {
    const etag = `"${revision}"`;
    void reply.header("etag", etag);
    if (each.method === "GET" && request.headers["if-none-match"] === etag) return reply.code(304).send();
  }
  return reply.send(result);
}

/** One line, and where no task tells of it one event, for every request that is meant to change something. */
async function audit(
  services: RestServices,
  operationId: string,
  each: Endpoint,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  if (each.method === "GET" && each.responseType !== "websocket") return;
  const { principal, taskId, errorCode } = request.inn;
  const login = operationId === "login" ? (request.body as { name?: unknown } | undefined)?.name : undefined;
  await services.audit.record({
    action: operationName(operationId),
    userName: principal?.user.name ?? (typeof login === "string" ? login.slice(0, 100) : undefined),
    address: request.ip,
    requestId: request.id,
    httpStatus: reply.statusCode,
    path: request.url.split("?", 1)[0] ?? "",
    ...(errorCode === undefined ? {} : { errorCode }),
    ...(taskId === undefined ? {} : { taskId }),
  });
}
