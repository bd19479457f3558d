/**
 * One HTTP request of the CLI. node:http instead of fetch: an upload needs its Content-Length and back pressure, a server
 * may have a certificate authority of its own, and it loads in a fraction of the time.
 * Every request has a signal and a deadline for its answer; the body of the answer is the caller's to read.
 */
import { Agent, type ClientRequest, type IncomingMessage, request as requestPlain } from "node:http";
import { Agent as SecureAgent, request as requestSecure } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CliError, tableError } from "#cli-error.ts";
import { trustOptions, untrustedError } from "#trust.ts";

interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | AsyncIterable<Uint8Array> | undefined;
  readonly signal: AbortSignal;
  /** Until the head of the answer has come; an upload's own time is not counted. */
  readonly timeoutMs: number;
}

export class HttpConnection implements Disposable {
  readonly #server: URL;
  readonly #trustPem: string | undefined;
  #made: Promise<Agent> | undefined;

  /** `trustPem`: the only certificate to trust (trust.ts); default: the public authorities. */
  constructor(server: URL, trustPem?: string) {
    this.#server = server;
    this.#trustPem = trustPem;
  }

  async #agent(): Promise<Agent> {
    if (this.#server.protocol !== "https:") return new Agent({ keepAlive: true });
    const trust = this.#trustPem === undefined ? {} : await trustOptions(this.#trustPem);
    return new SecureAgent({ keepAlive: true, ...trust });
  }

  async send(message: HttpRequest): Promise<IncomingMessage> {
    message.signal.throwIfAborted();
    const deadline = new AbortController();
    const signal = AbortSignal.any([message.signal, deadline.signal]);
    const open = this.#server.protocol === "https:" ? requestSecure : requestPlain;
    const outgoing = open(message.url, {
      method: message.method,
      headers: message.headers,
      agent: await (this.#made ??= this.#agent()),
      signal,
    });
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once("response", resolve);
      outgoing.once("error", reject);
    });
    let timer: NodeJS.Timeout | undefined;
    try {
      const sent = writeBody(outgoing, message.body);
      // The server may refuse before it has read all: its answer counts, not the broken pipe.
      sent.catch(() => undefined);
      await Promise.race([sent.catch(() => undefined), answer]);
      timer = setTimeout(() => deadline.abort(), message.timeoutMs);
      return await answer;
    } catch (error) {
      if (deadline.signal.aborted) {
        throw tableError("timeout", `no answer from ${message.url.origin} within ${message.timeoutMs / 1000} s`, {
          cause: error,
        });
      }
      message.signal.throwIfAborted();
      if (isUntrusted(error)) throw await untrustedError(this.#server, this.#trustPem, error);
      throw connectionError(message.url.origin, error);
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {
    void this.#made?.then((agent) => agent.destroy());
  }
}

async function writeBody(outgoing: ClientRequest, body: HttpRequest["body"]): Promise<void> {
  if (body === undefined || typeof body === "string") outgoing.end(body);
  else await pipeline(Readable.from(body, { objectMode: false }), outgoing);
}

// Codes of OpenSSL's certificate verification as Node names them (https://nodejs.org/api/tls.html#x509-certificate-error-codes).
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS_CERT_ALTNAME_INVALID/;

function isUntrusted(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && untrusted.test(String(error.code));
}

/** The words for a connection that failed. */
export function connectionError(origin: string, error: unknown): CliError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const said = error instanceof Error ? error.message || code : String(error);
  const reason: Readonly<Record<string, string>> = {
    ECONNREFUSED: "nothing listens there",
    ENOTFOUND: "the name is unknown",
    EAI_AGAIN: "the name can't be looked up",
    EHOSTUNREACH: "no route to it",
    ENETUNREACH: "no route to it",
    ECONNRESET: "the connection was cut",
    ETIMEDOUT: "no answer",
    EPROTO: "it does not speak TLS",
    ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; is it http:// instead of https://?",
  };
  return new CliError(`no connection to the server at ${origin}: ${reason[code] ?? said}`, {
    exitCode: 69, // EX_UNAVAILABLE, sysexits.h
    remedy: "Start it with `inn up`, or name another one with --server or INN_SERVER.",
    cause: error,
  });
}
