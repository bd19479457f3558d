/**
 * `/watch`: the change log as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 * Resumable by revision without gap; what the user may not read is left out, as of each moment; a client that does not
 * read is dropped, it costs no memory meanwhile; the stream ends with the session.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { AppError } from "#core/app-error.ts";
import type { AccessControl, Principal } from "#management/access/access.ts";
import { resourceKinds } from "#management/inventory/inventory.ts";
import { audit } from "#rest/audit.ts";
import type { HandlerTable } from "#rest/handler.ts";
import { privilegeOfKind } from "#rest/kind-privilege.ts";
import type { RestServices } from "#rest/service.ts";

type WatchedKind = (typeof resourceKinds)[number];

/**
 * Something this often keeps proxies from closing an idle stream, and notices who has gone. It tells how far the stream has
 * come, also over what is left out: who resumes after hours without a change of his kinds is not too late.
 */
const heartbeatMs = 15_000;
const drainTimeoutMs = 30_000;

export function watchHandlers(services: RestServices): HandlerTable {
  const { inventory, access, stop } = services;
  return {
    watch: async ({ query, request, reply, principal, signal }) => {
      const kinds = readKinds(query?.kind);
      // A browser that reconnects asks with its first address and tells in the header how far it came.
      const since = lastEventId(request.headers["last-event-id"]) ?? query?.since ?? inventory.revision;
      await inventory.checkResumable(since);
      using _place = access.openStream(principal);
      reply.hijack();
      await audit(services, request, { statusCode: 200, elapsedTime: 0 });
      const end = new AbortController();
      const ended = AbortSignal.any([end.signal, signal, stop]);
      const stopListening = access.onEnd(principal, () => end.abort());
      const { raw } = reply;
      const stream = new EventStream(raw, reply.getHeaders(), since);
      let revision = since;
      const heartbeat = setInterval(() => {
        if (access.holds(principal)) stream.mark(revision);
        else end.abort();
      }, heartbeatMs);
      try {
        for await (const change of inventory.changes(since, ended)) {
          const { kind } = change;
          const isWanted = kinds === undefined || kinds.has(kind);
          if (isWanted && maySee(access, principal, kind, change.resource))
            await stream.send(change.revision, change, ended);
          ({ revision } = change);
        }
      } catch {
        // The log no longer reaches back so far, or the client did not read: it reconnects and is told.
      } finally {
        clearInterval(heartbeat);
        stopListening();
        raw.end();
      }
    },
  };
}

function maySee(access: AccessControl, principal: Principal, kind: WatchedKind, resource: unknown): boolean {
  const privilege = privilegeOfKind[kind];
  if (privilege !== "own") return access.may(principal, privilege);
  // Of what is deleted only the id is told.
  return resource === undefined || (resource as { userId?: string } | undefined)?.userId === principal.user.id;
}

function readKinds(text: string | undefined): ReadonlySet<string> | undefined {
  if (text === undefined) return undefined;
  const kinds = text.split(",");
  const unknown = kinds.find((kind) => !(resourceKinds as readonly string[]).includes(kind));
  if (unknown === undefined) return new Set(kinds);
  throw new AppError("invalid_field", `There is no kind ${JSON.stringify(unknown)}.`, { field: "kind" });
}

function lastEventId(header: string | string[] | undefined): number | undefined {
  return typeof header === "string" && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

class EventStream {
  readonly #raw: ServerResponse;

  constructor(raw: ServerResponse, headers: Readonly<Record<string, unknown>>, since: number) {
    this.#raw = raw;
    for (const [name, value] of Object.entries(headers)) if (typeof value === "string") raw.setHeader(name, value);
    raw.writeHead(200, { "content-type": "text/event-stream", "x-accel-buffering": "no" });
    raw.write(`retry: 1000\nid: ${since}\n\n`);
  }

  /** An id without data is no event, but what the client resumes from. */
  mark(id: number): void {
    if (!this.#raw.writableNeedDrain) this.#raw.write(`id: ${id}\n\n`);
  }

  /** Resolves when there is room for the next one; throws when the client takes nothing for too long. */
  async send(id: number, data: unknown, signal: AbortSignal): Promise<void> {
    if (this.#raw.write(`id: ${id}\ndata: ${JSON.stringify(data)}\n\n`)) return;
    await once(this.#raw, "drain", { signal: AbortSignal.any([signal, AbortSignal.timeout(drainTimeoutMs)]) });
  }
}
