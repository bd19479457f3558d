/** Two control planes on one store: whichever is asked, the answer is the same, and what was done is there at once. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import type { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import { silentLogger } from "#core/log.ts";
import { stateLayout } from "#core/state-layout.ts";
import type { VmService } from "#management/vm/vm-service.ts";
import { PostgresServer } from "#store/postgres/test-support/postgres-server.ts";
import type { ServerConfig } from "./config.ts";
import { type RunningServer, startServer } from "./server.ts";
import { testConfig } from "./test-support/test-config.ts";
import { wire } from "./wire.ts";

const adminPassword = "correct horse battery staple";

let postgres: PostgresServer;
before(async () => {
  postgres = await PostgresServer.start();
});
after(() => postgres[Symbol.asyncDispose]());

interface Pair extends AsyncDisposable {
  readonly folder: string;
  readonly leader: RunningServer;
  readonly follower: RunningServer;
}

async function startPair(change: Partial<ServerConfig> = {}): Promise<Pair> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-pair-"));
  const url = await postgres.database();
  const [one, other] = [path.join(folder, "one"), path.join(folder, "other")];
  await using begun = new AsyncDisposableStack();
  begun.defer(() => rm(folder, { recursive: true }));
  const start = (state: string): Promise<RunningServer> =>
    startServer(testConfig(state, { adminPassword, store: { url }, takeoverMs: 2000, ...change }), {
      log: silentLogger,
      wire: (base) => {
        const real = wire(base);
        return { ...real, vm: Object.assign(Object.create(real.vm) as VmService, { console: async () => echo() }) };
      },
    });
  const leader = begun.use(await start(one));
  await mkdir(other);
  await copyFile(stateLayout(one).key, stateLayout(other).key);
  const follower = begun.use(await start(other));
  const running = begun.move();
  return { folder, leader, follower, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Answers with what it is sent, in capitals. */
function echo(): { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> } {
  return new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase())),
  });
}

interface Asked {
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

async function ask(server: RunningServer, method: string, where: string, { token, body, headers }: Asked = {}) {
  const response = await fetch(`${server.url}/api/v1${where}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
  const content = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  const parsed = (isJson ? JSON.parse(content) : {}) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, body: parsed };
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", (event) => reject(new Error("the socket was refused", { cause: event })));
  });
}

async function login(server: RunningServer, name = "admin"): Promise<string> {
  const { body } = await ask(server, "POST", "/login", { body: { name, password: adminPassword } });
  return String(body["secret"]);
}

describe("a process that does not lead", () => {
  let pair: Pair;
  let token: string;
  before(async () => {
    pair = await startPair();
    token = await login(pair.follower);
  });
  after(() => pair[Symbol.asyncDispose]());

  test("says so, and that it is well", async () => {
    const { follower, leader } = pair;
    assert.equal((await ask(follower, "GET", "/health")).status, 200);
    const { body } = await ask(follower, "GET", "/system", { token });
    assert.deepEqual([body["role"], body["leaderUrl"], body["store"]], ["follower", leader.url, "postgres"]);
    assert.equal((await ask(leader, "GET", "/system", { token })).body["role"], "leader");
  });

  test("has what was written through it when the answer is there", async () => {
    for (let index = 0; index < 20; index++) {
      const name = `user${index}`;
      const made = await ask(pair.follower, "POST", "/users", {
        token,
        body: { name, password: adminPassword, role: "operator" },
      });
      assert.equal(made.status, 201);
      assert.equal(made.headers.get("x-inn-revision"), null, "that is between the processes");
      const read = await ask(pair.follower, "GET", `/users?filter=name=${name}`, { token });
      assert.equal(read.body["totalCount"], 1);
    }
  });

  test("passes refusals on as they are, and asks the leader for what only it knows", async () => {
    const bad = { token, body: { name: "x" }, headers: { "x-request-id": "my-own-id" } };
    const [here, there] = [
      await ask(pair.follower, "POST", "/users", bad),
      await ask(pair.leader, "POST", "/users", bad),
    ];
    assert.equal(here.status, 422);
    assert.deepEqual(here.body, there.body);
    assert.equal(here.headers.get("x-request-id"), "my-own-id");
    for (const where of ["/vms/vm-000000000000/xml", "/audit", "/metrics"]) {
      const answers = [
        await ask(pair.follower, "GET", where, { token }),
        await ask(pair.leader, "GET", where, { token }),
      ];
      assert.equal(answers[0]?.status, answers[1]?.status, where);
    }
    assert.equal((await ask(pair.follower, "GET", "/users")).status, 401);
    assert.equal((await ask(pair.follower, "POST", "/users", { body: {} })).status, 401);
  });

  test("knows sessions and tokens of all, and that they have ended, at once", async () => {
    const own = await login(pair.leader);
    assert.equal((await ask(pair.follower, "GET", "/me", { token: own })).status, 200);
    const watching = new AbortController();
    const stream = await fetch(`${pair.follower.url}/api/v1/watch`, {
      headers: { authorization: `Bearer ${own}` },
      signal: watching.signal,
    });
    assert.equal(stream.status, 200);
    assert.equal((await ask(pair.leader, "POST", "/logout", { token: own })).status, 204);
    // It ends by itself, as the session has.
    for await (const _ of stream.body ?? []);
    assert.equal((await ask(pair.follower, "GET", "/me", { token: own })).status, 401);
  });

  test("tells the leader whose request it is, and nobody else can", async () => {
    const address = { "x-inn-client-address": "203.0.113.9" };
    const body = { name: "nobody", password: "wrong password" };
    for (const headers of [address, { ...address, "x-inn-client-seal": "0".repeat(64) }]) {
      await ask(pair.follower, "POST", "/login", { body, headers });
      await ask(pair.leader, "POST", "/login", { body, headers });
    }
    const { body: page } = await ask(pair.leader, "GET", "/audit?limit=50", { token });
    const logins = (page["items"] as AuditEntry[]).filter(
      ({ action, user }) => action === "login" && user === "nobody",
    );
    assert.deepEqual(
      logins.map((each) => each.address),
      Array(4).fill("127.0.0.1"),
    );
  });

  test("joins a console to the leader's", async () => {
    const url = `${pair.follower.url.replace("http", "ws")}/api/v1/vms/vm-000000000000/console`;
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } } as never);
    socket.binaryType = "arraybuffer";
    await opened(socket);
    for (const word of ["hello", "x".repeat(50_000)]) {
      socket.send(Buffer.from(word));
      let answer = "";
      while (answer.length < word.length) {
        const [message] = (await once(socket, "message")) as [{ readonly data: ArrayBuffer }];
        answer += Buffer.from(message.data).toString();
      }
      assert.equal(answer, word.toUpperCase());
    }
    socket.close();
    await once(socket, "close");
    const refused = new WebSocket(url);
    await assert.rejects(opened(refused));
  });
});

test("passes on over TLS, by the certificate that the leader has told the store of", async () => {
  await using pair = await startPair({ tls: { kind: "built-in", names: [] } });
  const ca = await readFile(path.join(pair.folder, "other", "tls", "trust.pem"));
  assert.deepEqual(ca, await readFile(path.join(pair.folder, "one", "tls", "trust.pem")), "one authority for all");
  const outgoing = request(`${pair.follower.url}/api/v1/login`, {
    method: "POST",
    ca,
    agent: false,
    headers: { "content-type": "application/json" },
  });
  outgoing.end(JSON.stringify({ name: "admin", password: adminPassword }));
  const [response] = (await once(outgoing, "response")) as [Parameters<typeof text>[0] & { statusCode: number }];
  assert.equal(response.statusCode, 200, await text(response));
});

test("when the leader stops, the other one goes on in its place, at the same address", async () => {
  await using pair = await startPair();
  const token = await login(pair.follower);
  const body = { name: "before", password: adminPassword, role: "operator" };
  assert.equal((await ask(pair.follower, "POST", "/users", { token, body })).status, 201);
  const stopping = pair.leader.close();
  // Asked while there is none: it waits for the next.
  const made = await ask(pair.follower, "POST", "/users", { token, body: { ...body, name: "after" } });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  await stopping;
  const { body: system } = await ask(pair.follower, "GET", "/system", { token });
  assert.equal(system["role"], "leader");
  const users = await ask(pair.follower, "GET", "/users", { token });
  assert.equal(users.body["totalCount"], 3);
});
