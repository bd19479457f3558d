/** What holds for all endpoints: ETags, conditions, request ids, headers, lists, tasks, idempotency, restarts. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { Type } from "typebox";
import { type Operation, operation } from "#management/task/operation.ts";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";

/** An operation of this name that makes nothing: its task can be let go on, or fail. */
function sample(name: string, work: (context: { signal: AbortSignal }) => Promise<void>): Operation {
  return operation({
    name,
    input: Type.Unknown(),
    claims: () => ({ exclusive: [name] }),
    target: () => undefined,
    steps: [{ name: "work", do: (context) => work(context), undo: async () => undefined }],
  });
}

function poolBody(name: string): object {
  return { host: "h1", name, type: "dir", path: "/p" };
}

/** Whose request the audit trail takes it for. */
async function addressTold(on: TestServer, headers: Readonly<Record<string, string>>): Promise<unknown> {
  await on.admin("GET", "/system", undefined, headers);
  const [entry] = (await on.admin("GET", "/audit?filter=action=system.get&limit=1")).body["items"] as object[];
  return (entry as { address: string }).address;
}

describe("rest", () => {
  let server: TestServer;
  let gate = Promise.withResolvers<void>();
  before(async () => {
    server = await startTestServer({
      replace: (wiring) => ({
        operations: [
          ...wiring.operations.filter(({ name }) => name !== "pool.create"),
          sample("pool.create", async ({ signal }) => {
            await Promise.race([gate.promise, new Promise((resolve) => signal.addEventListener("abort", resolve))]);
            signal.throwIfAborted();
          }),
        ],
      }),
    });
  });
  after(() => server[Symbol.asyncDispose]());

  test("a resource's ETag is its revision; not modified, changed meanwhile", async () => {
    const created = await server.admin("POST", "/users", { name: "etag", password: "12345678", role: "operator" });
    assert.equal(created.status, 201);
    const { id, revision } = created.body;
    const where = `/users/${String(id)}`;
    assert.equal(created.headers.get("etag"), `"${String(revision)}"`);
    const same = await server.admin("GET", where, undefined, { "if-none-match": `"${String(revision)}"` });
    assert.equal(same.status, 304);
    const change = (ifMatch: string, fullName: string) =>
      server.admin("PATCH", where, { fullName }, { "if-match": ifMatch });
    assert.equal((await change(`"${String(revision)}"`, "One")).status, 200);
    const late = await change(`"${String(revision)}"`, "Two");
    assert.equal(late.status, 412);
    assert.deepEqual(late.body["changes"], [{ field: "fullName", before: "", after: "One" }]);
    assert.equal((await change("*", "Three")).status, 200);
    for (const bad of ["5", 'W/"5"', '"a"', '"1", "2"']) assert.equal((await change(bad, "Four")).status, 400, bad);
    assert.equal((await server.admin("GET", where)).body["fullName"], "Three");
    assert.equal((await server.admin("DELETE", where)).status, 204);
    assert.equal((await server.admin("GET", where)).status, 404);
  });

  test("every answer has security headers and a request id, the client's own if it is harmless", async () => {
    const given = await server.call("GET", "/health", { headers: { "x-request-id": "mine-1" } });
    assert.equal(given.headers.get("x-request-id"), "mine-1");
    const odd = await server.call("GET", "/nothing", { headers: { "x-request-id": 'a"b\u00e9' } });
    assert.match(odd.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
    for (const answer of [given, odd]) {
      assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
      assert.equal(answer.headers.get("cache-control"), "no-store");
      assert.match(answer.headers.get("content-security-policy") ?? "", /default-src 'none'/);
    }
    assert.deepEqual(given.body, { status: "ok" });
  });

  test("lists: pages, filters, sort, fields; a bad one names its field", async () => {
    for (const name of ["list-c", "list-a", "list-b"]) {
      await server.admin("POST", "/users", { name, password: "12345678", role: "read-only" });
    }
    const first = await server.admin("GET", "/users?filter=name~list-&limit=2&sort=-name&fields=name");
    const items = first.body["items"] as { id: string; name: string }[];
    assert.deepEqual(
      items.map((each) => each.name),
      ["list-c", "list-b"],
    );
    assert.deepEqual(Object.keys(items[0] ?? {}).toSorted(), ["id", "name"]);
    assert.equal(first.body["totalCount"], 3);
    const cursor = encodeURIComponent(String(first.body["nextCursor"]));
    const second = await server.admin(
      "GET",
      `/users?filter=name~list-&limit=2&sort=-name&fields=name&cursor=${cursor}`,
    );
    assert.deepEqual(
      (second.body["items"] as { name: string }[]).map((each) => each.name),
      ["list-a"],
    );
    assert.equal(second.body["nextCursor"], undefined);
    for (const [query, field] of [
      ["filter=nme=x", "filter"],
      ["filter=name=", "filter"],
      ["sort=nme", "sort"],
      ["sort=;drop", "sort"],
      ["limit=0", "limit"],
      ["limit=abc", "limit"],
      ["limit=1&limit=2", "limit"],
      ["cursor=xyz", "cursor"],
      ["fields=nme", "fields"],
      ["colour=red", "colour"],
    ] as const) {
      const answer = await server.admin("GET", `/users?${query}`);
      assert.equal(answer.status, 422, query);
      assert.equal(answer.body["field"], field, query);
    }
  });

  test("an endpoint with a task answers at once, waits if asked, and the task can be cancelled", async () => {
    gate = Promise.withResolvers();
    const submitted = await server.admin("POST", "/pools", poolBody("p1"));
    assert.equal(submitted.status, 202);
    const id = String(submitted.body["id"]);
    assert.equal(submitted.headers.get("location"), `/api/v1/tasks/${id}`);
    const waited = await server.admin("GET", `/tasks/${id}?waitMs=50`);
    assert.equal(waited.body["state"], "running");
    const cancelled = await server.admin("POST", `/tasks/${id}/cancel?waitMs=10000`);
    assert.equal(cancelled.status, 202);
    assert.equal(cancelled.body["state"], "cancelled");
    assert.equal((await server.admin("POST", `/tasks/${id}/cancel`)).status, 409);
    assert.equal((await server.admin("POST", "/tasks/task-000000000000/cancel")).status, 404);
    gate.resolve();
    const done = await server.admin("POST", "/pools?waitMs=10000", poolBody("p2"));
    assert.equal(done.body["state"], "succeeded");
    assert.equal(done.body["operation"], "pool.create");
    assert.equal(done.body["createdBy"], "admin");
  });

  test("the same Idempotency-Key is the same task, also after a restart; another body is refused", async () => {
    gate.resolve();
    const post = (key: string, name: string) =>
      server.admin("POST", "/pools", poolBody(name), { "idempotency-key": key });
    const [one, two] = await Promise.all([post("k1", "a"), post("k1", "a")]);
    assert.equal(one.status, 202);
    assert.equal(one.body["id"], two.body["id"]);
    await server.restart();
    assert.equal((await post("k1", "a")).body["id"], one.body["id"]);
    const other = await post("k1", "b");
    assert.equal(other.status, 409);
    assert.equal(other.body["field"], "Idempotency-Key");
    assert.notEqual((await post("k2", "a")).body["id"], one.body["id"]);
    assert.equal((await post("x".repeat(201), "a")).status, 400);
  });

  test("a task that ran when the server stopped goes on at its next start", async () => {
    gate = Promise.withResolvers();
    const submitted = await server.admin("POST", "/pools?waitMs=50", poolBody("resumed"));
    assert.equal(submitted.body["state"], "running");
    await server.restart();
    gate.resolve();
    const ended = await server.admin("GET", `/tasks/${String(submitted.body["id"])}?waitMs=10000`);
    assert.equal(ended.body["state"], "succeeded");
  });

  test("wrong passwords are told apart from nothing, slowed down, and in the events", async () => {
    const login = (name: string) => server.call("POST", "/login", { body: { name, password: "wrong password" } });
    const known = await login("admin");
    const unknown = await login("nobody");
    assert.equal(known.status, 401);
    assert.deepEqual({ ...known.body, requestId: "" }, { ...unknown.body, requestId: "" });
    for (let tries = 0; tries < 4; tries++) await login("nobody");
    const limited = await login("nobody");
    assert.equal(limited.status, 429);
    assert.ok(Number(limited.headers.get("retry-after")) >= 1);
    const events = await server.admin("GET", "/events?filter=type=user.login-failed&limit=1");
    assert.match(JSON.stringify(events.body["items"]), /a login as admin from 127\.0\.0\.1 failed/);
  });

  test("what is denied and what is changed is in the events, in the newest first", async () => {
    const token = await server.login("read-only");
    await server.call("POST", "/vms", { token, body: {} });
    await server.admin("POST", "/users", { name: "audited", password: "12345678", role: "operator" });
    const { body } = await server.admin("GET", "/events?limit=2");
    const types = (body["items"] as { type: string }[]).map((event) => event.type);
    assert.deepEqual(types, ["user.create", "access.denied"]);
  });

  test("a body without an end is cut off where it is too long, with or without its length told", async () => {
    const told = await server.admin("POST", "/users", Buffer.alloc(50 * 2 ** 20, 0x20));
    assert.deepEqual([told.status, told.body["code"]], [413, "too_large"]);
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    const head = `POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
    socket.write(head);
    const chunk = `10000\r\n${" ".repeat(0x10000)}\r\n`;
    const answer: string[] = [];
    socket.setEncoding("utf8").on("data", (text: string) => answer.push(text));
    socket.on("error", () => undefined);
    let sentBytes = 0;
    while (answer.length === 0 && !socket.destroyed && sentBytes < 50 * 2 ** 20) {
      sentBytes += chunk.length;
      await new Promise((resolve) => socket.write(chunk, resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.match(answer.join(""), /^HTTP\/1\.1 413 /);
    assert.ok(sentBytes < 20 * 2 ** 20, `${sentBytes}`);
    socket.destroy();
  });

  test("whose request it is: the connection's, or what a trusted proxy says, and no more than that", async () => {
    assert.equal(await addressTold(server, { "x-forwarded-for": "192.0.2.1" }), "127.0.0.1");
    await using behind = await startTestServer({ config: { trustProxy: true } });
    assert.equal(await addressTold(behind, { "x-forwarded-for": "192.0.2.1" }), "192.0.2.1");
    // What its client made up comes before what the proxy adds.
    assert.equal(await addressTold(behind, { "x-forwarded-for": "203.0.113.9, 192.0.2.1" }), "192.0.2.1");
  });

  test("what processes that share a store tell each other is believed of nobody else", async () => {
    await using alone = await startTestServer();
    for (const seal of [undefined, "", "undefined", "0".repeat(64)]) {
      const headers = seal === undefined ? {} : { "x-inn-client-seal": seal };
      const forged = { "x-inn-client-address": "203.0.113.9", ...headers };
      assert.equal(await addressTold(alone, forged), "127.0.0.1", `seal ${seal}`);
    }
    // Another address with every guess would be another guesser with every guess.
    const guesses = [...Array(12).keys()].map((index) =>
      alone.call("POST", "/login", {
        body: { name: "admin", password: "wrong password" },
        headers: { "x-inn-client-address": `127.0.${index}.1` },
      }),
    );
    const refused = (await Promise.all(guesses)).filter(({ status }) => status === 429);
    assert.equal(refused.length, 12 - 5);
  });

  test("every request is in the audit trail, for administrators, and nothing in it can pass for something else", async () => {
    const token = await server.login("operator");
    await server.call("GET", "/vms", { token, headers: { "x-request-id": "audited-read" } });
    await server.call("DELETE", "/users/user-000000000000", { token });
    await server.call("GET", "/no/such%0aendpoint");
    await server.call("POST", "/login", { body: { name: "root", password: "nonsense" } });
    const hostAdd = { uri: "qemu+tls://127.0.0.1:1/system", name: "audited" };
    const task = await server.admin("POST", "/hosts?waitMs=20000", hostAdd);
    const list = async (filter: string): Promise<Record<string, unknown>[]> =>
      (await server.admin("GET", `/audit?filter=${encodeURIComponent(filter)}`)).body["items"] as never;
    const [read] = await list("requestId=audited-read");
    const user = String((await server.call("GET", "/me", { token })).body["name"]);
    assert.deepEqual(
      [read?.["user"], read?.["action"], read?.["result"], read?.["address"], read?.["path"]],
      [user, "vm.list", "succeeded", "127.0.0.1", "/api/v1/vms"],
    );
    const [refused] = await list(`user=${user} and action=user.delete`);
    assert.deepEqual(
      [refused?.["target"], refused?.["result"], refused?.["errorCode"], refused?.["credential"]],
      ["user-000000000000", "refused", "forbidden", "session"],
    );
    assert.equal((await list("action=unknown"))[0]?.["errorCode"], "not_found");
    assert.equal((await list("action=login and errorCode=wrong_credentials"))[0]?.["user"], "root");
    await server.call("POST", "/login", { body: { name: "admin\u202e\n200", password: "nonsense" } });
    assert.equal((await list("action=login and result=refused"))[0]?.["user"], "admin\\u{202e}\\u{a}200");
    const [added] = await list("action=host.add");
    assert.deepEqual([added?.["result"], added?.["taskId"]], ["accepted", task.body["id"]]);
    assert.equal((await server.call("GET", "/audit", { token })).status, 403);
  });

  test("tokens work like sessions, are one's own, and end when revoked", async () => {
    const created = await server.admin("POST", "/tokens", { name: "ci", expiresInDays: 1 });
    assert.equal(created.status, 201);
    const token = String(created.body["secret"]);
    assert.equal((await server.call("GET", "/me", { token })).body["name"], "admin");
    const other = await server.login("administrator");
    assert.deepEqual((await server.call("GET", "/tokens", { token: other })).body["items"], []);
    const { id } = created.body["token"] as { id: string };
    assert.equal((await server.call("DELETE", `/tokens/${id}`, { token: other })).status, 404);
    assert.equal((await server.admin("DELETE", `/tokens/${id}`)).status, 204);
    assert.equal((await server.call("GET", "/me", { token })).status, 401);
  });
});
