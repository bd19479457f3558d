/** The route of the console: opens it as an ordinary request, and only then becomes a WebSocket. */
import type { FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import type { Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { AppError } from "#core/app-error.ts";
import { audit } from "#rest/audit.ts";
import { serviceContext } from "#rest/handler.ts";
import { requestContext } from "#rest/request-context.ts";
import type { ByteChannel } from "#core/byte-channel.ts";
import { type ConsoleSocket, discardConsole, joinConsole } from "#rest/route/console.ts";
import type { RestServices } from "#rest/service.ts";

type BaseRoute = Pick<RouteOptions, "method" | "url" | "onRequest" | "onResponse">;

export function consoleRoute(base: BaseRoute, each: Endpoint, current: () => RestServices): RouteOptions {
  const opened = new WeakMap<FastifyRequest, { readonly place: Disposable; readonly channel: ByteChannel }>();
  return {
    ...base,
    preHandler: async (request: FastifyRequest, reply: FastifyReply) => {
      const services = current();
      const context = requestContext(services, "vmConsole", each, request, reply);
      const { vmId } = context.parameters as { vmId: string };
      const query = context.query as { type?: "serial" | "vnc"; force?: boolean } | undefined;
      const options = { type: query?.type ?? "serial", force: query?.force ?? false } as const;
      const place = services.access.openStream(context.principal);
      // The socket is the console's from here to its end, whatever becomes of the upgrade.
      request.raw.socket.once("close", () => place[Symbol.dispose]());
      try {
        opened.set(request, { place, channel: await services.vm.console(vmId, options, serviceContext(context)) });
      } catch (error) {
        place[Symbol.dispose]();
        throw error;
      }
      // Open it is, whatever becomes of the upgrade.
      if (request.ws) await audit(services, request, { statusCode: 101, elapsedTime: reply.elapsedTime });
    },
    // Whoever asks without an upgrade learns whether it could be opened, and that this is no way to open it.
    handler: async (request: FastifyRequest) => {
      const console = opened.get(request);
      console?.place[Symbol.dispose]();
      if (console !== undefined) await discardConsole(console.channel);
      throw new AppError("bad_request", "A console is a WebSocket; ask for it with an upgrade.", { field: "Upgrade" });
    },
    wsHandler: (socket: ConsoleSocket, request: FastifyRequest) => {
      const services = current();
      const channel = opened.get(request)?.channel;
      const { principal } = request.inn;
      if (channel === undefined || principal === undefined) return socket.terminate();
      const session = { access: services.access, principal, stop: services.stop };
      joinConsole(socket, channel, session).catch((error: unknown) => {
        services.log.warn({ err: error, requestId: request.id }, "a console ended badly");
        socket.terminate();
      });
    },
  };
}
