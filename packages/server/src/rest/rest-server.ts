/**
 * The HTTP server: limits, headers, bodies, errors, and the routes of the contract. It listens where the app says.
 * Every answer has security headers and the request's id.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Server as SecureServer } from "node:https";
import type { Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import websocket from "@fastify/websocket";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { AppError } from "#core/app-error.ts";
import { chooseProtocol } from "#rest/authentication.ts";
import { auditEach, hasUntold, record, recordUnread, type Unread } from "#rest/audit.ts";
import { answerClientError } from "#rest/client-error.ts";
import { asAppError, sendError } from "#rest/error.ts";
import { parseJsonBody, readBody } from "#rest/json-body.ts";
import { answerPlainRequests } from "#rest/plain-request.ts";
import { origin, revisionHeader } from "#rest/pass-on.ts";
import { registerEndpoints } from "#rest/registration.ts";
import type { RestServices } from "#rest/service.ts";

const jsonBodyMaxBytes = 1024 * 1024;
const headerMaxBytes = 16 * 1024;
const headersTimeoutMs = 10_000;
/** Longer than any wait (waitMs) and heartbeat; ends connections on which nothing moves. */
const idleTimeoutMs = 120_000;
/** Watches and consoles are a connection each; whoever opens more than this is no client. */
const connectionsMax = 4096;
/** A console takes keystrokes, not files. */
const consoleFrameMaxBytes = 64 * 1024;

/** PEM. */
export interface TlsOptions {
  readonly key: string;
  readonly cert: string;
}

/** Mozilla's "intermediate": https://ssl-config.mozilla.org/guidelines/5.7.json; TLS 1.3 has its own suites. */
const cipherSuites = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
];
const handshakeTimeoutMs = 10_000;
const loopback = ["127.0.0.0/8", "::1"];

const protocolLimits = {
  maxHeaderSize: headerMaxBytes,
  headersTimeout: headersTimeoutMs,
  connectionsCheckingInterval: 5000,
  // Other upgrades, such as curl's to HTTP/2, are not taken up: the request is answered as it is (RFC 9110 §7.8).
  shouldUpgradeCallback: ({ method, headers }: IncomingMessage) =>
    method === "GET" && headers.upgrade?.toLowerCase() === "websocket",
};

function secureContext({ key, cert }: TlsOptions): SecureContextOptions {
  return { key, cert, minVersion: "TLSv1.2", ciphers: cipherSuites.join(":") };
}

/** From now on, new connections are served with this certificate. */
export function serveCertificate(server: FastifyInstance, tls: TlsOptions): void {
  if (server.server instanceof SecureServer) server.server.setSecureContext(secureContext(tls));
}

interface RestOptions {
  /** HTTPS with these; absent: plain HTTP, which the app allows where it is safe. */
  readonly tls?: TlsOptions;
  /** Believe a proxy on this machine whose request it is; of others nothing is believed. */
  readonly trustProxy?: boolean;
}

/** `current`: the services of now. */
export async function restServer(current: () => RestServices, options: RestOptions = {}): Promise<FastifyInstance> {
  const begin = (request: FastifyRequest, reply: FastifyReply): void => {
    request.inn = {
      principal: undefined,
      taskId: undefined,
      errorCode: undefined,
      operationId: undefined,
      isDone: false,
      target: undefined,
      ...origin(current().leading, request),
    };
    void reply.headers(answerHeaders(request, options));
  };
  const tellUnread = (refused: Unread): void => void recordUnread(current(), refused);
  const server = fastify({
    logger: false,
    trustProxy: options.trustProxy === true ? loopback : false,
    bodyLimit: jsonBodyMaxBytes,
    connectionTimeout: idleTimeoutMs,
    ...(options.tls === undefined
      ? { http: protocolLimits }
      : { https: { ...protocolLimits, ...secureContext(options.tls), handshakeTimeout: handshakeTimeoutMs } }),
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    genReqId: (request) => requestId(request.headers["x-request-id"]),
    // As long as a request's line may be: an id that nothing has is not found, however long.
    routerOptions: { maxParamLength: headerMaxBytes },
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => {
      // A request whose body is no HTTP is told of as a request.
      const isRequest = hasUntold(socket);
      const refused = answerClientError(error, socket);
      if (refused !== undefined && !isRequest) tellUnread(refused);
    },
    // A path that can't be decoded: hooks don't see it (https://fastify.dev/docs/latest/Reference/Server/#frameworkerrors).
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      begin(request, reply);
      request.inn.errorCode = "bad_request";
      sendError(current().log, error, request, reply);
      void record(current(), request, reply);
    },
  });
  server.server.maxConnections = connectionsMax;
  if (options.tls !== undefined) answerPlainRequests(server.server, tellUnread);
  server.decorateRequest("inn");
  server.addHook("onRequest", (request, reply, done) => {
    begin(request, reply);
    done();
  });
  auditEach(server, current);
  server.setErrorHandler((error, request, reply) => {
    const known = asAppError(error);
    request.inn.errorCode = known instanceof AppError ? known.code : "internal";
    // What is still to come of a refused body is not waited for; uploads have their own way (octets.ts).
    if (!request.raw.complete && request.body === undefined) void reply.header("connection", "close");
    return sendError(current().log, error, request, reply);
  });
  server.setNotFoundHandler((request, reply) => {
    request.inn.errorCode = "not_found";
    const error = new AppError("not_found", "There is no such endpoint; see /api/v1/openapi.json.");
    return sendError(current().log, error, request, reply);
  });
  // Who asked through another process finds there what was done here.
  server.addHook("onSend", async (request, reply) => {
    if (request.inn.isPassedOn) void reply.header(revisionHeader, String(current().inventory.revision));
  });
  addBodyParsers(server);
  await server.register(websocket, {
    options: { maxPayload: consoleFrameMaxBytes, handleProtocols: chooseProtocol, perMessageDeflate: false },
  });
  await server.register(async (scope) => registerEndpoints(scope, current));
  return server;
}

function answerHeaders({ id }: FastifyRequest, { tls }: RestOptions): Readonly<Record<string, string>> {
  return {
    "x-request-id": id,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    ...(tls === undefined ? {} : { "strict-transport-security": "max-age=31536000" }),
  };
}

/** JSON in valid UTF-8 alone; octet streams are handed over unread; anything else is refused. */
function addBodyParsers(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("application/json", async (_request: unknown, payload: IncomingMessage) =>
    parseJsonBody(await readBody(payload, jsonBodyMaxBytes)),
  );
  server.addContentTypeParser("application/octet-stream", async (_request: unknown, payload: unknown) => payload);
}

/** The client's own id where it is harmless in a log line, else a new one. */
function requestId(header: string | string[] | undefined): string {
  return typeof header === "string" && /^[A-Za-z0-9._:-]{1,100}$/.test(header) ? header : randomUUID();
}
