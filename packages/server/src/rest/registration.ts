/**
 * Makes a route of every endpoint of the contract's table, and of nothing else. Each does the same in the same order:
 * authentication, privilege, then the schemas, then the handler. An endpoint without a handler stops the start. Where
 * another process leads, what only it can do is passed on to it before any of that.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Endpoint, apiPrefix } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint, type OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { bearerSecret } from "#rest/authentication.ts";
import type { Handler } from "#rest/handler.ts";
import { ownOperations, passOn } from "#rest/pass-on.ts";
import { requestContext } from "#rest/request-context.ts";
import { consoleRoute } from "#rest/route/console-route.ts";
import { handlerTable } from "#rest/route/table.ts";
import type { RestServices } from "#rest/service.ts";

type Handlers = Readonly<Record<string, Handler<OperationId> | undefined>>;

/** `current`: the services of now; they change when this process comes to lead, or leads no more. */
export function registerEndpoints(server: FastifyInstance, current: () => RestServices): void {
  const tables = new WeakMap<RestServices, Handlers>();
  const handlersOf = (services: RestServices): Handlers => {
    const handlers = tables.get(services) ?? (handlerTable(services) as Handlers);
    tables.set(services, handlers);
    return handlers;
  };
  const handlers = handlersOf(current());
  const own = ownOperations(current());
  const missing = Object.keys(endpoint).filter((operationId) => handlers[operationId] === undefined);
  if (missing.length > 0) throw new Error(`endpoints without a handler: ${missing.join(", ")}`);
  for (const [operationId, each] of Object.entries<Endpoint>(endpoint)) {
    const route = {
      method: each.method,
      url: apiPrefix + each.path.replace(/\{(\w+)\}/g, ":$1"),
      onRequest: async (request: FastifyRequest, reply: FastifyReply) => {
        request.inn.operationId = operationId;
        if (await passOn(current(), own.has(operationId), request, reply)) return reply;
        return admit(current(), each, request);
      },
    };
    if (each.responseType === "websocket") server.route(consoleRoute(route, each, current));
    else {
      const answer = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
        const services = current();
        const handler = handlersOf(services)[operationId];
        if (handler === undefined) throw new Error(`no handler of ${operationId}`);
        return handle(services, operationId, each, handler, request, reply);
      };
      for (const url of [route.url, ...(each.alsoAt === undefined ? [] : [each.alsoAt])]) {
        server.route({ ...route, url, handler: answer });
      }
    }
  }
}

async function admit(services: RestServices, each: Endpoint, request: FastifyRequest): Promise<undefined> {
  if (each.access === "open") return undefined;
  request.inn.principal = await services.access.authenticate(bearerSecret(request));
  services.access.authorize(request.inn.principal, each.access);
  return undefined;
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
