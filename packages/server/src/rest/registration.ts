/**
 * Makes a route of every endpoint of the contract's table, and of nothing else. Each does the same in the same order:
 * authentication, privilege, then the schemas, then the handler. An endpoint without a handler stops the start.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Endpoint, apiPrefix } from "@innkeeper/contract/endpoint/endpoint.ts";
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
      onRequest: (request: FastifyRequest) => {
        request.inn.operationId = operationId;
        return admit(services, each, request);
      },
    };
    if (each.responseType === "websocket") server.route(consoleRoute(route, each, services));
    else {
      for (const url of [route.url, ...(each.alsoAt === undefined ? [] : [each.alsoAt])]) {
        server.route({
          ...route,
          url,
          handler: (request, reply) => handle(services, operationId, each, handler, request, reply),
        });
      }
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
  noteResult(request, each, result);
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

/** For the audit trail: the task, and the id of what was made. */
function noteResult({ inn }: FastifyRequest, each: Endpoint, result: unknown): void {
  const { id, target } = (result ?? {}) as { id?: string; target?: { id?: string } };
  if (each.status === 202) inn.taskId = id;
  inn.target = each.status === 202 ? target?.id : each.status === 201 ? id : undefined;
}
