/**
 * Sends generated requests to a control plane and judges every answer: what is not right is a 4xx that names what is wrong,
 * what is done is what the contract allows, and nothing is an internal error.
 */
import assert from "node:assert/strict";
import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { Value } from "typebox/value";
import { type Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { Problem, problemContentType } from "@innkeeper/contract/problem.ts";
import { type Logger, silentLogger } from "#core/log.ts";
import type { FuzzRequest } from "./request-generator.ts";

const parallel = 8;
const requestTimeoutMs = 90_000;

interface Outcome {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

interface FuzzRun {
  readonly url: string;
  readonly requests: readonly FuzzRequest[];
  readonly tokenFor: (request: FuzzRequest) => string;
  /** What the server logged as errors so far. */
  readonly errors: readonly string[];
  /** Operations whose answer may end in its middle: content that came to be written to meanwhile. */
  readonly mayBreakOff?: ReadonlySet<string>;
  /** Whether an answer may be this 5xx: a host that fails is no fault of the control plane. */
  readonly isAllowed?: (problem: Problem, operationId: string) => boolean;
}

/** How many answers there were of each family: 2xx, 4xx. */
export async function runFuzz(run: FuzzRun): Promise<ReadonlyMap<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: parallel });
  const outcomes = new Map<string, number>();
  const queue = run.requests.values();
  const work = async (): Promise<void> => {
    for (const each of queue) {
      const outcome = await send(run.url, agent, each, run.tokenFor(each)).catch((error: unknown) => {
        if (run.mayBreakOff?.has(each.operationId) !== true) throw error;
      });
      if (outcome === undefined) continue;
      judge(each, outcome, run);
      const family = `${Math.floor(outcome.status / 100)}xx`;
      outcomes.set(family, (outcomes.get(family) ?? 0) + 1);
    }
  };
  try {
    await Promise.all(Array.from({ length: parallel }, work));
  } finally {
    agent.destroy();
  }
  return outcomes;
}

/** A log of which only the errors are kept. */
export function errorsInto(errors: string[]): Logger {
  const log: Logger = {
    ...silentLogger,
    error: (fields, message) => void errors.push(`${message} ${describeFields(fields)}`),
    child: () => log,
  };
  return log;
}

function describeFields(fields: object): string {
  const { err, ...rest } = fields as { err?: unknown };
  return `${JSON.stringify(rest)} ${err instanceof Error ? (err.stack ?? err.message) : ""}`;
}

/** Fisher and Yates, by a linear congruential generator (Numerical Recipes §7.1). */
export function shuffled<T>(items: readonly T[], start: number): T[] {
  const result = [...items];
  let state = start >>> 0;
  for (let index = result.length - 1; index > 0; index--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = state % (index + 1);
    [result[index], result[other]] = [result[other] as T, result[index] as T];
  }
  return result;
}

async function send(url: string, agent: Agent, each: FuzzRequest, token: string): Promise<Outcome> {
  const { hostname, port } = new URL(url);
  const body = each.body === undefined ? undefined : toBytes(each);
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request({
      agent,
      hostname,
      port,
      method: each.method,
      path: `/api/v1${each.target}`,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-length": body.length }),
        ...each.headers,
      },
      timeout: requestTimeoutMs,
    });
    outgoing.once("response", resolve);
    outgoing.once("timeout", () => outgoing.destroy(new Error("no answer")));
    outgoing.once("error", (error) => reject(new Error(`${JSON.stringify(each).slice(0, 2000)}: ${error.message}`)));
    outgoing.end(body);
  });
  const status = answer.statusCode ?? 0;
  const type = answer.headers["content-type"] ?? "";
  // It lasts as long as one listens.
  if (type === "text/event-stream") {
    answer.destroy();
    return { status, type, body: "" };
  }
  return { status, type, body: await text(answer) };
}

/** JSON in UTF-8; what is broken in bytes is written as latin1. */
function toBytes({ body = "", json }: FuzzRequest): Buffer {
  return Buffer.from(body, json === undefined ? "latin1" : "utf8");
}

function judge(each: FuzzRequest, { status, type, body }: Outcome, { errors, isAllowed }: FuzzRun): void {
  const what = `${JSON.stringify(each).slice(0, 3000)}\n→ ${status} ${body.slice(0, 1000)} ${errors.join("\n")}`;
  if (status >= 500 && isAllowed?.(JSON.parse(body) as Problem, each.operationId) === true) return;
  assert.ok(status >= 200 && status < 500 && (status < 300 || status === 304 || status >= 400), what);
  const table: Endpoint = (endpoint as Record<string, Endpoint>)[each.operationId] as Endpoint;
  if (status < 300) {
    // Only what the contract allows is done, and answered.
    if (table.body !== undefined) assert.ok(Value.Check(table.body, each.json ?? {}), what);
    const isWhole = !each.target.includes("fields=");
    if (table.response !== undefined && isWhole) assert.ok(Value.Check(table.response, JSON.parse(body)), what);
    return;
  }
  if (status < 400) return;
  assert.ok(type.startsWith(problemContentType), what);
  const problem: unknown = JSON.parse(body);
  assert.ok(Value.Check(Problem, problem), what);
  // A field at fault is named; the body as a whole has no name.
  if (problem.code === "invalid_field")
    assert.ok(problem.field !== undefined || /^The (body|content) /.test(problem.detail ?? ""), what);
}
