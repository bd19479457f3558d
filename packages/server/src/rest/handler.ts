/** What a handler of an endpoint is given and gives back, typed by the contract's table. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { BodyOf, OperationId, ParametersOf, QueryOf, ResponseOf } from "@innkeeper/contract/endpoint/table.ts";
import type { Principal } from "#management/access/access.ts";

export interface HandlerContext<O extends OperationId> {
  readonly parameters: ParametersOf<O>;
  readonly query: QueryOf<O>;
  readonly body: BodyOf<O>;
  /** Who asks. Endpoints with access `open` have none: it throws there. */
  readonly principal: Principal;
  readonly userName: string;
  /** Aborts when the client goes away, the server stops, or the request takes too long. */
  readonly signal: AbortSignal;
  readonly ifRevision?: number;
  readonly address: string;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Returns the JSON response, or takes the reply over (streams) and returns nothing. */
export type Handler<O extends OperationId> = (
  context: HandlerContext<O>,
) => Promise<ResponseOf<O> | void> | ResponseOf<O> | void;

export type HandlerTable = { readonly [O in OperationId]?: Handler<O> };

/** What services take from a request. */
export function serviceContext(context: HandlerContext<OperationId>): {
  readonly userName: string;
  readonly signal: AbortSignal;
  readonly ifRevision?: number;
} {
  const { userName, signal, ifRevision } = context;
  return { userName, signal, ...(ifRevision === undefined ? {} : { ifRevision }) };
}
