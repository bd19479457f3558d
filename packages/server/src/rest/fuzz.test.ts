/**
 * 10,000 requests made from the endpoint table, right, nearly right and hostile, by one seed (INN_FUZZ_SEED): what is not
 * right is a 4xx that names what is wrong, nothing is ever a 5xx, and nothing crashes, hangs, or is kept in memory.
 */
import assert from "node:assert/strict";
import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { Value } from "typebox/value";
import { type Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { Problem, problemContentType } from "@innkeeper/contract/problem.ts";
import { type Logger, silentLogger } from "#core/log.ts";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";
import { type FuzzRequest, type KnownIds, requestsOf } from "#rest/test-support/request-generator.ts";

const total = 10_000;
const seed = Number(process.env["INN_FUZZ_SEED"] ?? 20_261_123);
const parallel = 8;
const requestTimeoutMs = 60_000;
const growthMaxMiB = 200;
/** Passwords are slow to check on purpose, and guessing is limited. */
const few: Readonly<Record<string, number>> = { login: 40, userPassword: 40, userCreate: 60 };

interface Outcome {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

describe("fuzz", { timeout: 600_000 }, () => {
  let server: TestServer;
  const agent = new Agent({ keepAlive: true, maxSockets: parallel });
  const errors: string[] = [];
  before(async () => {
    server = await startTestServer({ log: errorsInto(errors) });
  });
  after(async () => {
    agent.destroy();
    await server[Symbol.asyncDispose]();
  });

  test(`${total} requests (seed ${seed})`, async () => {
    const known = await population(server);
    const tokens = { mine: server.token, leaving: await server.login("administrator") };
    const residentBefore = process.memoryUsage.rss();
    const requests = shuffled(allRequests(known), seed);
    assert.ok(requests.length >= total, `${requests.length}`);
    const outcomes = new Map<string, number>();
    const queue = requests.values();
    const work = async (): Promise<void> => {
      for (const each of queue) {
        const token = each.operationId === "logout" ? tokens.leaving : tokens.mine;
        const outcome = await send(server, agent, each, token);
        judge(each, outcome, errors);
        const family = `${Math.floor(outcome.status / 100)}xx`;
        outcomes.set(family, (outcomes.get(family) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: parallel }, work));
    // It answers as before, and the administrator is still one.
    assert.equal((await server.admin("GET", "/health")).status, 200);
    assert.equal((await server.admin("GET", "/users")).status, 200);
    assert.ok((outcomes.get("2xx") ?? 0) > total / 40, JSON.stringify([...outcomes]));
    assert.ok((outcomes.get("4xx") ?? 0) > total / 2, JSON.stringify([...outcomes]));
    const growthMiB = (process.memoryUsage.rss() - residentBefore) / 2 ** 20;
    assert.ok(growthMiB < growthMaxMiB, `${growthMiB} MiB more`);
    assert.equal(({} as Record<string, unknown>)["role"], undefined, "the prototype of objects is as it was");
  });
});

function errorsInto(errors: string[]): Logger {
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

/** Something of what there can be without a host. */
async function population(server: TestServer): Promise<KnownIds> {
  const idOf = async (path: string, body: unknown, at: (answer: Record<string, unknown>) => unknown): Promise<string> =>
    String(at((await server.admin("POST", path, body)).body));
  const users = await Promise.all(
    ["victim", "other"].map((name) =>
      idOf("/users", { name, password: "12345678", role: "read-only" }, (body) => body["id"]),
    ),
  );
  const token = await idOf("/tokens", { name: "t" }, (body) => (body["token"] as { id: string }).id);
  const host = { uri: "qemu+tls://127.0.0.1:1/system", name: "gone" };
  const task = await idOf("/hosts?waitMs=20000", host, (body) => body["id"]);
  return { userId: users, tokenId: [token], taskId: [task] };
}

function allRequests(known: KnownIds): FuzzRequest[] {
  const all = Object.entries<Endpoint>(endpoint);
  const fixed = Object.values(few).reduce((sum, count) => sum + count, 0);
  const count = Math.ceil((total - fixed) / (all.length - Object.keys(few).length));
  return all.flatMap((each, index) => requestsOf(each, { count: few[each[0]] ?? count, seed: seed + index, known }));
}

/** Fisher and Yates, by a linear congruential generator (Numerical Recipes §7.1). */
function shuffled<T>(items: readonly T[], start: number): T[] {
  const result = [...items];
  let state = start >>> 0;
  for (let index = result.length - 1; index > 0; index--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = state % (index + 1);
    [result[index], result[other]] = [result[other] as T, result[index] as T];
  }
  return result;
}

async function send(server: TestServer, agent: Agent, each: FuzzRequest, token: string): Promise<Outcome> {
  const { hostname, port } = new URL(server.url);
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

function judge(each: FuzzRequest, { status, type, body }: Outcome, errors: readonly string[]): void {
  const what = `${JSON.stringify(each).slice(0, 3000)}\n→ ${status} ${body.slice(0, 1000)} ${errors.join("\n")}`;
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
  if (status === 422) assert.ok(problem.field !== undefined || problem.detail?.startsWith("The body "), what);
}
