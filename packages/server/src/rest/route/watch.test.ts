/** `/watch`: live, resumed without gap, filtered by what one may see, ended with the session, and not held up by a client that sleeps. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";

interface Change {
  readonly revision: number;
  readonly kind: string;
  readonly operation: string;
  readonly resource?: Readonly<Record<string, unknown>>;
}

async function* watch(server: TestServer, query: string, token = server.token, headers = {}): AsyncGenerator<Change> {
  const response = await fetch(`${server.url}/api/v1/watch${query}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
    signal: AbortSignal.timeout(20_000),
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.ok(response.body);
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const message = text.slice(0, end);
      text = text.slice(end + 2);
      const [, id, data] = /^id: (\d+)\ndata: (.*)$/s.exec(message) ?? [];
      if (data === undefined) continue;
      const change = JSON.parse(data) as Change;
      assert.equal(change.revision, Number(id));
      yield change;
    }
  }
}

async function take(stream: AsyncGenerator<Change>, count: number): Promise<Change[]> {
  const changes: Change[] = [];
  while (changes.length < count) {
    const { done, value } = await stream.next();
    if (done === true) break;
    changes.push(value);
  }
  return changes;
}

describe("watch", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());
  const addUser = (name: string) => server.admin("POST", "/users", { name, password: "12345678", role: "read-only" });
  const revision = async (): Promise<number> => Number((await server.admin("GET", "/system")).body["revision"]);

  test("a change is told within a moment, with the resource as it is", async () => {
    const stream = watch(server, "?kind=user");
    const next = stream.next();
    await server.admin("GET", "/system");
    const { body } = await addUser("live");
    const { value } = await next;
    assert.equal(value.kind, "user");
    assert.equal(value.operation, "put");
    assert.deepEqual(value.resource, body);
    await stream.return(undefined);
  });

  test("it is resumed from any revision, by query or Last-Event-ID, also after a restart, without gap", async () => {
    const since = await revision();
    for (let index = 0; index < 5; index++) await addUser(`resume${index}`);
    const all = await take(watch(server, `?since=${since}`), 10);
    assert.deepEqual(
      all.map((change) => change.revision),
      Array.from({ length: 10 }, (_, index) => since + 1 + index),
    );
    await server.restart();
    const rest = await take(watch(server, `?since=${since}`, server.token, { "last-event-id": String(since + 4) }), 6);
    assert.deepEqual(rest, all.slice(4));
  });

  test("who watches a quiet kind is told now and then how far the others have come", async ({ mock }) => {
    mock.timers.enable({ apis: ["setInterval"] });
    const response = await fetch(`${server.url}/api/v1/watch?kind=host`, {
      headers: { authorization: `Bearer ${server.token}` },
      signal: AbortSignal.timeout(20_000),
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    assert.match((await reader?.read())?.value ?? "", /^id: /m);
    await addUser("quiet");
    const stream = watch(server, `?since=${(await revision()) - 1}`);
    await stream.next();
    mock.timers.tick(15_000);
    assert.equal((await reader?.read())?.value, `id: ${await revision()}\n\n`);
    await reader?.cancel();
    await stream.return(undefined);
  });

  test("a revision that can't be resumed from is refused; so is a kind that there is not", async () => {
    const future = await server.admin("GET", "/watch?since=999999");
    assert.equal(future.status, 412);
    assert.equal((await server.admin("GET", "/watch?kind=vm,nonsense")).body["field"], "kind");
    assert.equal((await server.admin("GET", "/watch?since=-1")).body["field"], "since");
  });

  test("what one may not read is left out: users, and others' tokens", async () => {
    const token = await server.login("read-only");
    const since = await revision();
    await addUser("hidden");
    await server.admin("POST", "/tokens", { name: "admin's" });
    await server.call("POST", "/tokens", { token, body: { name: "mine" } });
    const seen = await take(watch(server, `?since=${since}&kind=user,token`, token), 1);
    assert.equal(seen[0]?.resource?.["name"], "mine");
    const byAdmin = await take(watch(server, `?since=${since}&kind=user,token`), 2);
    assert.deepEqual(
      byAdmin.map((change) => change.resource?.["name"]),
      ["hidden", "admin's"],
    );
  });

  test("it ends with the session", async () => {
    const token = await server.login("read-only");
    const stream = watch(server, "", token);
    const ended = (async () => {
      for await (const _ of stream) {
        // until it ends
      }
    })();
    await server.call("GET", "/me", { token });
    assert.equal((await server.call("POST", "/logout", { token })).status, 204);
    await ended;
  });

  test("a client that reads nothing costs no memory and holds nobody up", { timeout: 60_000 }, async () => {
    const since = await revision();
    const { hostname, port } = new URL(server.url);
    const sleeper = connect(Number(port), hostname);
    sleeper.pause();
    sleeper.write(`GET /api/v1/watch?since=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.token}\r\n\r\n`);
    const before = process.memoryUsage().arrayBuffers;
    for (let index = 0; index < 150; index++) {
      await server.admin("POST", "/tokens", { name: "x".repeat(200) }).then(async ({ body }) => {
        const { id } = body["token"] as { id: string };
        await server.admin("DELETE", `/tokens/${id}`);
      });
    }
    const all = await take(watch(server, `?since=${since}`), 600);
    assert.equal(all.length, 600);
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 2 ** 20);
    sleeper.destroy();
  });
});
