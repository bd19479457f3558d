/**
 * The typed client of the REST API: every call is named by its operation id and typed by the contract's endpoint table.
 * Invariant: a caller gets a response or a CliError in the user's words with the table's exit code, never a raw failure.
 */
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import type { BodyOf, OperationId, ParametersOf, QueryOf, ResponseOf } from "@innkeeper/contract/endpoint/table.ts";
import type { ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import type { Problem } from "@innkeeper/contract/problem.ts";
import { CliError, problemError } from "#cli-error.ts";
import { route } from "#generated/route.ts";
import { HttpConnection } from "#http.ts";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** Revision that the caller has seen: the call is refused if it has changed since (If-Match). */
  readonly ifRevision?: number | undefined;
}

type Part<Key extends string, Value> = [Value] extends [undefined] ? unknown : { readonly [key in Key]: Value };
type ParameterPart<O extends OperationId> = [keyof ParametersOf<O>] extends [never]
  ? unknown
  : { readonly parameters: ParametersOf<O> };
type QueryPart<O extends OperationId> = [QueryOf<O>] extends [undefined] ? unknown : { readonly query?: QueryOf<O> };

/** What an operation needs: path parameters and body if it has them; the query may be left out. */
type CallInput<O extends OperationId> = ParameterPart<O> & QueryPart<O> & Part<"body", BodyOf<O>> & CallOptions;
type CallArguments<O extends OperationId> =
  CallOptions extends CallInput<O> ? [input?: CallInput<O>] : [input: CallInput<O>];

export type ListOperation = Extract<OperationId, `${string}List`>;
export type ItemOf<O extends ListOperation> = ResponseOf<O> extends { items: (infer Item)[] } ? Item : never;

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly totalCount: number;
  readonly revision: number;
  readonly nextCursor?: string;
}

/** A call's pieces without their types, as they go on the wire. */
interface WireInput extends CallOptions {
  readonly parameters?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>> | undefined;
  readonly body?: unknown;
}

export interface Content {
  readonly stream: AsyncIterable<Uint8Array>;
  readonly sizeBytes: number;
}

export interface Connection {
  readonly server: URL;
  readonly token: string | undefined;
  /** PEM of the authority that signed the server's certificate, or of that certificate, unless a public one did. */
  readonly caCertificate?: string | undefined;
}

/** Above the longest wait that the API offers (waitMs ≤ 60 s). */
const defaultTimeoutMs = 75_000;
const apiPrefix = "/api/v1"; // contract/endpoint/endpoint.ts, which loads the schema library
export const neverAborted = new AbortController().signal;

export class ApiClient implements Disposable {
  readonly connection: Connection;
  readonly #http: HttpConnection;
  readonly #signal: AbortSignal;

  /** `signal` ends every call of this client. */
  constructor(connection: Connection, signal: AbortSignal = neverAborted) {
    this.connection = connection;
    this.#signal = signal;
    this.#http = new HttpConnection(connection.server, connection.caCertificate);
  }

  /** Calls an operation that answers with JSON or with nothing. */
  async call<O extends OperationId>(operation: O, ...[input]: CallArguments<O>): Promise<ResponseOf<O>> {
    const answer = await this.#sendJson(operation, (input ?? {}) as WireInput);
    const content = await text(answer);
    return (content === "" ? undefined : JSON.parse(content)) as ResponseOf<O>;
  }

  /** One page of a list. */
  async page<O extends ListOperation>(operation: O, query: ListQuery, signal?: AbortSignal): Promise<Page<ItemOf<O>>> {
    const answer = await this.#send(operation, { query, signal }, undefined, {}).catch((error: unknown) => {
      throw error instanceof CliError ? error.withPlace("filter", query.filter) : error;
    });
    return JSON.parse(await text(answer)) as Page<ItemOf<O>>;
  }

  /** Sends a file's content. `response` is the operation's, as with `call`. */
  async upload<O extends "imageUpload" | "volumeUpload">(
    operation: O,
    input: Omit<CallInput<O>, "body">,
    content: Content,
  ): Promise<ResponseOf<O>> {
    const headers = { "content-type": "application/octet-stream", "content-length": String(content.sizeBytes) };
    const answer = await this.#send(operation, input as WireInput, content.stream, headers);
    return JSON.parse(await text(answer)) as ResponseOf<O>;
  }

  /** The answer as it comes, for content that is not JSON. `sizeBytes` is -1 when the server does not tell. */
  async download<O extends OperationId>(
    operation: O,
    input: CallInput<O>,
  ): Promise<Content & { readonly type: string }> {
    const answer = await this.#sendJson(operation, input as WireInput);
    const length = answer.headers["content-length"];
    return {
      stream: answer,
      sizeBytes: length === undefined ? -1 : Number(length),
      type: answer.headers["content-type"] ?? "",
    };
  }

  /** Address of an operation, also for those that are no plain request (`watch`, consoles). */
  url(operation: OperationId, input: Pick<WireInput, "parameters" | "query"> = {}): URL {
    const path = route[operation].path.replaceAll(/\{(\w+)\}/g, (_match, name: string) =>
      encodeURIComponent(input.parameters?.[name] ?? ""),
    );
    const url = new URL(this.connection.server);
    url.pathname = `${url.pathname.replace(/\/$/, "")}${apiPrefix}${path}`;
    for (const [name, value] of Object.entries(input.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  get authorization(): Record<string, string> {
    return this.connection.token === undefined ? {} : { authorization: `Bearer ${this.connection.token}` };
  }

  #sendJson(operation: OperationId, input: WireInput): Promise<IncomingMessage> {
    const body = input.body === undefined ? undefined : JSON.stringify(input.body);
    return this.#send(operation, input, body, body === undefined ? {} : { "content-type": "application/json" });
  }

  async #send(
    operation: OperationId,
    input: WireInput,
    body: string | AsyncIterable<Uint8Array> | undefined,
    headers: Record<string, string>,
  ): Promise<IncomingMessage> {
    const signal = input.signal === undefined ? this.#signal : AbortSignal.any([this.#signal, input.signal]);
    const answer = await this.#http.send({
      method: route[operation].method,
      url: this.url(operation, input),
      headers: {
        accept: "*/*",
        ...this.authorization,
        ...headers,
        ...(input.ifRevision === undefined ? {} : { "if-match": `"${input.ifRevision}"` }),
      },
      body,
      signal,
      timeoutMs: input.timeoutMs ?? defaultTimeoutMs,
    });
    const { statusCode = 0 } = answer;
    if (statusCode >= 200 && statusCode < 300) return answer;
    throw await answerError(answer, this.connection.server.origin);
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }
}

const problemMaxBytes = 1024 * 1024;

async function answerError(answer: IncomingMessage, origin: string): Promise<CliError> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > problemMaxBytes) break;
    chunks.push(chunk);
  }
  const content = Buffer.concat(chunks).toString("utf8");
  if (answer.headers["content-type"]?.includes("json") === true) {
    try {
      const document: unknown = JSON.parse(content);
      if (isProblem(document)) return problemError(document);
    } catch {
      // Not JSON after all: said below.
    }
  }
  return new CliError(
    `${origin} answered ${answer.statusCode} ${answer.statusMessage ?? ""} and is no Innkeeper server, it seems`,
    {
      exitCode: 76, // EX_PROTOCOL, sysexits.h
      remedy: "Check the address (inn login, --server, INN_SERVER) and any proxy between.",
    },
  );
}

function isProblem(document: unknown): document is Problem {
  return typeof document === "object" && document !== null && "code" in document && "title" in document;
}
