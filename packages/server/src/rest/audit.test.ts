/** Every request is in the trail, and once: also what its client did not wait for, and what was no request at all. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, describe, type TestContext, test } from "node:test";
import type { AuditEntry } from "@innkeeper/contract/resource/audit.ts";
import { AccessControl } from "#management/access/access.ts";
import { UserService } from "#management/access/user-service.ts";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";

const chunk = new Uint8Array(64 * 1024);

/** What `type` does happens when the client has gone, of which `begun` tells that it is the time. */
function workUntilGone<K extends string>(
  context: TestContext,
  type: { readonly prototype: Record<K, (...args: never[]) => Promise<unknown>> },
  name: K,
): PromiseWithResolvers<void> {
  const begun = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const onStart = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket);
  subscribe("http.server.request.start", onStart);
  context.after(() => void unsubscribe("http.server.request.start", onStart));
  const original = type.prototype[name] as (...args: unknown[]) => Promise<unknown>;
  context.mock.method(
    type.prototype as never,
    name as never,
    async function (this: unknown, ...args: unknown[]) {
      const socket = sockets[0];
      assert.ok(socket);
      const closed = Promise.withResolvers<void>();
      if (socket.destroyed) closed.resolve();
      else socket.once("close", () => closed.resolve());
      begun.resolve();
      await closed.promise;
      return original.apply(this, args);
    } as never,
  );
  return begun;
}

describe("audit", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer({
      replace: () => ({
        volume: {
          upload: async () => Promise.reject(new Error("not asked for here")),
          download: async () => ({
            content: new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(chunk) }),
            sizeBytes: 2 ** 40,
          }),
        },
      }),
    });
  });
  after(async () => {
    const { body } = await server.admin("GET", "/audit?limit=1000");
    const ids = (body["items"] as AuditEntry[]).map(({ requestId }) => requestId);
    assert.deepEqual(
      ids.filter((id, index) => ids.indexOf(id) !== index),
      [],
      "twice in the trail",
    );
    await server[Symbol.asyncDispose]();
  });

  async function list(where: string, filter: string): Promise<Record<string, unknown>[]> {
    const { body } = await server.admin("GET", `/${where}?limit=100&filter=${encodeURIComponent(filter)}`);
    return body["items"] as Record<string, unknown>[];
  }

  /** As soon as there is something. */
  async function told(filter: string): Promise<Partial<AuditEntry>[]> {
    const deadline = AbortSignal.timeout(20_000);
    for (;;) {
      const entries = await list("audit", filter);
      if (entries.length > 0) return entries as Partial<AuditEntry>[];
      deadline.throwIfAborted();
    }
  }

  function open(): Socket {
    const { hostname, port } = new URL(server.url);
    return connect(Number(port), hostname).on("error", () => undefined);
  }

  function head(method: string, where: string, id: string, more = ""): string {
    return `${method} /api/v1${where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.token}\r\nX-Request-Id: ${id}\r\n${more}\r\n`;
  }

  /** Sends it, and goes while the server works on it. */
  async function cutWhile(at: PromiseWithResolvers<void>, text: string): Promise<void> {
    const socket = open();
    socket.write(text);
    await at.promise;
    socket.resetAndDestroy();
  }

  async function newUser(name: string): Promise<string> {
    const { body } = await server.admin("POST", "/users", { name, password: "12345678", role: "operator" });
    return String(body["id"]);
  }

  test("a download that is cut", async () => {
    const socket = open();
    socket.write(head("GET", "/volumes/vol-000000000000/content", "cut-download"));
    await once(socket, "data");
    socket.resetAndDestroy();
    const [entry] = await told("requestId=cut-download");
    assert.deepEqual([entry?.user, entry?.action, entry?.result], ["admin", "volume.download", "succeeded"]);
    assert.equal((await list("events", "type=volume.download")).length, 1);
  });

  test("a deletion whose client left is done, told as done, and as unanswered", async (context) => {
    const userId = await newUser("deleted");
    await cutWhile(
      workUntilGone(context, AccessControl as never, "authenticate"),
      head("DELETE", `/users/${userId}`, "cut-delete"),
    );
    const [entry] = await told("requestId=cut-delete and unanswered=true");
    assert.deepEqual(
      [entry?.user, entry?.target, entry?.result, entry?.httpStatus],
      ["admin", userId, "succeeded", 204],
    );
    assert.equal((await server.admin("GET", `/users/${userId}`)).status, 404);
    assert.equal((await list("events", "type=user.delete")).length, 1);
  });

  test("one that comes behind another over the same connection", async (context) => {
    const userId = await newUser("behind");
    const both = head("GET", "/vms", "cut-first") + head("DELETE", `/users/${userId}`, "cut-second");
    await cutWhile(workUntilGone(context, AccessControl as never, "authenticate"), both);
    for (const id of ["cut-first", "cut-second"]) assert.equal((await told(`requestId=${id}`))[0]?.unanswered, true);
    assert.equal((await server.admin("GET", `/users/${userId}`)).status, 404);
  });

  test("a failed login whose client left", async (context) => {
    const body = JSON.stringify({ name: "admin", password: "a guess" });
    const more = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
    await cutWhile(
      workUntilGone(context, UserService as never, "login"),
      head("POST", "/login", "cut-login", more) + body,
    );
    const [entry] = await told("requestId=cut-login and unanswered=true");
    assert.deepEqual([entry?.user, entry?.errorCode, entry?.httpStatus], ["admin", "wrong_credentials", 401]);
    assert.equal((await list("events", "type=user.login-failed")).length, 1);
  });

  test("a body that breaks off", async () => {
    const more = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    const socket = open();
    socket.write(`${head("POST", "/users", "cut-body", more)}{"name"`);
    const onStart = Promise.withResolvers<void>();
    const begun = (): void => onStart.resolve();
    subscribe("http.server.request.start", begun);
    await onStart.promise;
    unsubscribe("http.server.request.start", begun);
    socket.resetAndDestroy();
    const [entry] = await told("requestId=cut-body");
    assert.deepEqual([entry?.errorCode, entry?.result, entry?.unanswered], ["bad_request", "refused", true]);
  });

  test("a body that stops being HTTP is one request", async () => {
    const more = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    const socket = open();
    socket.write(`${head("POST", "/users", "bad-chunk", more)}zz\r\n`);
    await once(socket.resume(), "close");
    assert.equal((await told("requestId=bad-chunk"))[0]?.errorCode, "bad_request");
    assert.deepEqual(await list("audit", 'method=""'), []);
  });

  test("what can't be read as a request, and a path that can't be decoded", async () => {
    for (const [text, status] of [
      ["GET\r\n\r\n", 400],
      [`GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    ] as const) {
      const socket = open();
      socket.write(text);
      await once(socket.resume(), "close");
      const [entry] = await told(`method="" and httpStatus=${status}`);
      assert.deepEqual([entry?.action, entry?.result, entry?.address], ["unknown", "refused", "127.0.0.1"]);
      assert.equal(entry?.user, undefined);
    }
    const answer = await server.admin("GET", "/vms/%ff", undefined, { "x-request-id": "bad-path" });
    assert.deepEqual([answer.status, answer.body["code"]], [400, "bad_request"]);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
    assert.equal((await told("requestId=bad-path")).length, 1);
  });
});
