/**
 * 10,000 requests made from the endpoint table, right, nearly right and hostile, by one seed (INN_FUZZ_SEED): what is not
 * right is a 4xx that names what is wrong, nothing is ever a 5xx, and nothing crashes, hangs, or is kept in memory.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Endpoint } from "@innkeeper/contract/endpoint/endpoint.ts";
import { endpoint } from "@innkeeper/contract/endpoint/table.ts";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";
import { errorsInto, runFuzz, shuffled } from "#rest/test-support/fuzz-run.ts";
import { type FuzzRequest, type Known, requestsOf } from "#rest/test-support/request-generator.ts";

const total = 10_000;
const seed = Number(process.env["INN_FUZZ_SEED"] ?? 20_261_123);
const growthMaxMiB = 64;
/** Passwords are slow to check on purpose, and guessing is limited. */
const few: Readonly<Record<string, number>> = { login: 40, userPassword: 40, userCreate: 60 };

describe("fuzz", { timeout: 600_000 }, () => {
  let server: TestServer;
  const errors: string[] = [];
  before(async () => {
    server = await startTestServer({ log: errorsInto(errors) });
  });
  after(() => server[Symbol.asyncDispose]());

  test(`${total} requests (seed ${seed})`, async () => {
    const known = await population(server);
    const tokens = { mine: server.token, leaving: await server.login("administrator") };
    const requests = shuffled(allRequests(known), seed);
    const before = keptBytes();
    assert.ok(requests.length >= total, `${requests.length}`);
    const tokenFor = ({ operationId }: FuzzRequest): string =>
      operationId === "logout" ? tokens.leaving : tokens.mine;
    const outcomes = await runFuzz({ url: server.url, requests, tokenFor, errors });
    // It answers as before, and the administrator is still one.
    assert.equal((await server.admin("GET", "/health")).status, 200);
    assert.equal((await server.admin("GET", "/users")).status, 200);
    assert.ok((outcomes.get("2xx") ?? 0) > total / 40, JSON.stringify([...outcomes]));
    assert.ok((outcomes.get("4xx") ?? 0) > total / 2, JSON.stringify([...outcomes]));
    const growthMiB = (keptBytes() - before) / 2 ** 20;
    assert.ok(growthMiB < growthMaxMiB, `${growthMiB} MiB more`);
    assert.equal(({} as Record<string, unknown>)["role"], undefined, "the prototype of objects is as it was");
  });
});

/** What is in use, without garbage. */
function keptBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Something of what there can be without a host. */
async function population(server: TestServer): Promise<Known> {
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
  const cluster = await idOf("/clusters", { name: "c" }, (body) => body["id"]);
  return { clusterId: [cluster], userId: users, tokenId: [token], taskId: [task] };
}

function allRequests(known: Known): FuzzRequest[] {
  const all = Object.entries<Endpoint>(endpoint);
  const fixed = Object.values(few).reduce((sum, count) => sum + count, 0);
  const count = Math.ceil((total - fixed) / (all.length - Object.keys(few).length));
  return all.flatMap((each, index) => requestsOf(each, { count: few[each[0]] ?? count, seed: seed + index, known }));
}
