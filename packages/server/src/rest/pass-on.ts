/**
 * Where several processes share a store, one leads: requests that write, or that ask a host, are passed on to it by the
 * others as they are, answers come back as they are, consoles included. Invariants: a request is passed on once at most,
 * and sent once at most; who asked then finds what was done in the process that he asks. The client's address goes with
 * it under a seal that only these processes can make.
 */
import { timingSafeEqual } from "node:crypto";
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { takeForTold } from "#rest/audit.ts";
import { bearerSecret } from "#rest/authentication.ts";
import { listHandlers } from "#rest/route/list.ts";
import type { Leading, RestServices } from "#rest/service.ts";

const addressHeader = "x-inn-client-address";
const sealHeader = "x-inn-client-seal";
/** Of an answer: the revision of the change log that it is not older than. */
export const revisionHeader = "x-inn-revision";

const connectTimeoutMs = 3000;
/** How long an answer waits until this process has read what the leader has written. */
const followTimeoutMs = 2000;
/** Between tries, while a leader that is known can't be reached and another is not known yet. */
const retryMs = 200;

/** Each process's own affair, or a stream that outlives leaders. */
const neverPassedOn = ["watch", "systemHealth", "systemGet", "systemOpenapi"];

/** What is answered from memory; the rest is passed on. */
export function ownOperations(services: RestServices): ReadonlySet<string> {
  return new Set([...Object.keys(listHandlers(services)), "taskGet", "tokenList", "me", ...neverPassedOn]);
}

/** True: the answer is the leader's, and is on its way. */
export async function passOn(
  services: RestServices,
  isOwn: boolean,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  const { leading } = services;
  if (leading === undefined || leading.isLeader) return false;
  if (isOwn) {
    const secret = bearerSecret(request);
    // A login of a moment ago, by way of another process.
    if (!services.access.isKnown(secret)) await leading.catchUp().catch(() => undefined);
    const isOwnAffair = neverPassedOn.includes(request.inn.operationId ?? "");
    const isNoted = isOwnAffair || !services.access.isUseDue(secret);
    if (isNoted || leading.present === undefined || request.inn.isPassedOn) return false;
  }
  if (request.inn.isPassedOn) throw nobodyLeads("The process that led does so no more");
  try {
    return await askLeader(services, leading, request, reply);
  } catch (error) {
    if (isOwn && !reply.raw.headersSent) return false;
    throw error;
  }
}

/** Of a request: whose it is, and whether it came through another of these processes. */
export function origin(
  leading: Leading | undefined,
  { headers, ip, id }: Pick<FastifyRequest, "headers" | "ip" | "id">,
): { readonly address: string; readonly isPassedOn: boolean } {
  const { [addressHeader]: address, [sealHeader]: seal } = headers;
  const isPassedOn =
    leading !== undefined &&
    typeof address === "string" &&
    typeof seal === "string" &&
    isSame(seal, leading.seal(sealed(id, address)));
  return isPassedOn ? { address, isPassedOn } : { address: ip, isPassedOn: false };
}

function isSame(given: string, own: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(own)];
  return one.length === other.length && timingSafeEqual(one, other);
}

function sealed(requestId: string, address: string): string {
  return `${requestId}\n${address}`;
}

async function askLeader(
  services: RestServices,
  leading: Leading,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort(new AppError("cancelled", "The client went away."));
  reply.raw.once("close", onClose);
  const signal = AbortSignal.any([gone.signal, services.stop]);
  const deadlineMs = services.clock.monotonicMs() + leading.patienceMs;
  for (;;) {
    await leading.settled(signal);
    if (leading.isLeader) return false;
    const answer = await exchange(leading, request, signal);
    if (answer === "not-sent") {
      if (services.clock.monotonicMs() > deadlineMs) throw nobodyLeads("The process that led can't be reached");
      await services.clock.sleep(retryMs, signal);
      continue;
    }
    await follow(services.inventory, answer.response.headers[revisionHeader], signal);
    reply.hijack();
    takeForTold(request);
    if (answer.socket === undefined) await relay(answer.response, reply);
    else join(answer.response, answer.socket, answer.head, request);
    return true;
  }
}

interface Answer {
  readonly response: IncomingMessage;
  /** Of a WebSocket. */
  readonly socket?: Duplex;
  readonly head?: Buffer;
}

/** `not-sent`: the leader did not get it. */
async function exchange(leading: Leading, request: FastifyRequest, signal: AbortSignal): Promise<Answer | "not-sent"> {
  const { raw, inn, id } = request;
  const leader = leading.present;
  if (leader === undefined) return "not-sent";
  const headers = {
    ...raw.headers,
    "x-request-id": id,
    [addressHeader]: inn.address,
    [sealHeader]: leading.seal(sealed(id, inn.address)),
  };
  const url = new URL(raw.url ?? "/", leader.url);
  const { promise, resolve, reject } = Promise.withResolvers<Answer | "not-sent">();
  let isSent = false;
  const options = { method: raw.method ?? "GET", headers, agent: false as const, signal };
  const outgoing: ClientRequest =
    url.protocol === "https:"
      ? httpsRequest(url, { ...options, ca: leader.trustPem, allowPartialTrustChain: true })
      : httpRequest(url, options);
  const timer = setTimeout(() => outgoing.destroy(new Error("no connection in time")), connectTimeoutMs);
  outgoing.once("response", (response) => resolve({ response }));
  outgoing.once("upgrade", (response, socket, head) => resolve({ response, socket, head }));
  outgoing.on("error", (error) => {
    clearTimeout(timer);
    if (signal.aborted) {
      if (isSent) takeForTold(request);
      reject(signal.reason as Error);
    } else if (isSent) reject(lostOnTheWay(error));
    else resolve("not-sent");
  });
  // The body is not touched before somebody takes it.
  outgoing.once("socket", (socket) => {
    socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => {
      clearTimeout(timer);
      isSent = true;
      if (raw.headers.upgrade === undefined) pipeline(raw, outgoing).catch((error: Error) => outgoing.destroy(error));
      else outgoing.end();
    });
  });
  return promise;
}

async function relay(response: IncomingMessage, reply: FastifyReply): Promise<void> {
  reply.raw.writeHead(response.statusCode ?? 502, endToEnd(response.headers));
  // Half an answer is told to the client by the end of its connection.
  await pipeline(response, reply.raw).catch(() => reply.raw.destroy());
}

/** Both sockets are one from here on. */
function join(response: IncomingMessage, leader: Duplex, head: Buffer | undefined, { raw }: FastifyRequest): void {
  const client = raw.socket;
  const lines = Object.entries(response.headers).flatMap(([name, value]) =>
    value === undefined ? [] : `${name}: ${String(value)}`,
  );
  client.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
  if (head !== undefined && head.length > 0) client.write(head);
  for (const [from, to] of [
    [client, leader],
    [leader, client],
  ] as const) {
    from.on("error", () => to.destroy());
    from.once("close", () => to.destroy());
    from.pipe(to);
  }
}

/** RFC 9110 §7.6.1: what is about one connection does not go on to the next. */
function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { connection: _, "keep-alive": __, "transfer-encoding": ___, [revisionHeader]: ____, ...rest } = headers;
  return rest;
}

/** Resolves when the inventory has that revision, or after a moment all the same. */
async function follow(inventory: Inventory, header: string | string[] | undefined, signal: AbortSignal): Promise<void> {
  const revision = Number(header);
  if (!(revision > inventory.revision)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, followTimeoutMs);
  const stop = inventory.onChange(() => {
    if (inventory.revision >= revision) resolve();
  });
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
  stop();
}

function lostOnTheWay(cause: Error): AppError {
  return new AppError(
    "store_unavailable",
    "The control plane that leads was lost while it worked on this request: it may have been done or not.",
    { remedy: "Look whether it was done, then ask again; with the same Idempotency-Key it is done once.", cause },
  );
}

export function nobodyLeads(why: string): AppError {
  return new AppError("store_unavailable", `${why}, and no other is known to lead yet; nothing was changed.`, {
    remedy: "Try again in a few seconds.",
    fault: { retryAfterSeconds: 2 },
  });
}
