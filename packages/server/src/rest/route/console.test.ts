/** The console over WebSocket: bytes both ways, login by header or subprotocol, refusals as HTTP, end with session and server. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";
import type { VmService } from "#management/vm/vm-service.ts";

const path = "/vms/vm-000000000000/console";

/** A console that answers with what it is sent, in capitals. */
function echo(): { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> } {
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      const text = new TextDecoder().decode(chunk);
      if (text === "exit") controller.terminate();
      else controller.enqueue(new TextEncoder().encode(text.toUpperCase()));
    },
  });
}

interface Client {
  readonly socket: WebSocket;
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  next(): Promise<string>;
}

async function open(server: TestServer, init: { token?: string; protocols?: string[] }): Promise<Client> {
  const url = `${server.url.replace("http", "ws")}/api/v1${path}`;
  const socket = new WebSocket(url, {
    ...(init.protocols === undefined ? {} : { protocols: init.protocols }),
    ...(init.token === undefined ? {} : { headers: { authorization: `Bearer ${init.token}` } }),
  });
  socket.binaryType = "arraybuffer";
  const received: string[] = [];
  let wake = Promise.withResolvers<void>();
  socket.addEventListener("message", ({ data }) => {
    received.push(Buffer.from(data as ArrayBuffer).toString());
    wake.resolve();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason })),
  );
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error("the socket was refused")));
  });
  return {
    socket,
    closed,
    async next() {
      while (received.length === 0) {
        await wake.promise;
        wake = Promise.withResolvers();
      }
      return received.shift() ?? "";
    },
  };
}

describe("console", () => {
  let server: TestServer;
  let state = "running";
  before(async () => {
    server = await startTestServer({
      replace: ({ vm }) => ({
        vm: Object.assign(Object.create(vm) as VmService, {
          async console() {
            if (state !== "running") throw new AppError("invalid_state", "The VM is off.");
            return echo();
          },
        }),
      }),
    });
  });
  after(() => server[Symbol.asyncDispose]());

  test("bytes go both ways in order, and it closes when the guest's side ends", async () => {
    const client = await open(server, { token: server.token });
    for (const word of ["one", "two", "ü🙂"]) client.socket.send(Buffer.from(word));
    assert.equal((await client.next()) + (await client.next()) + (await client.next()), "ONETWOÜ🙂");
    client.socket.send("exit");
    assert.equal((await client.closed).code, 1000);
  });

  test("a browser logs in by subprotocol, and the secret is not sent back", async () => {
    const client = await open(server, { protocols: ["inn.console", `bearer.${server.token}`] });
    assert.equal(client.socket.protocol, "inn.console");
    client.socket.close();
    await client.closed;
  });

  test("it is refused without login or privilege, and in the wrong state, as HTTP with the reason", async () => {
    await assert.rejects(open(server, {}), /refused/);
    const token = await server.login("read-only");
    await assert.rejects(open(server, { token }), /refused/);
    state = "shutoff";
    await assert.rejects(open(server, { token: server.token }), /refused/);
    const reason = await server.admin("GET", path);
    assert.equal(reason.status, 409);
    assert.equal(reason.body["detail"], "The VM is off.");
    state = "running";
    const plain = await server.admin("GET", path);
    assert.equal(plain.status, 400);
    assert.equal(plain.body["field"], "Upgrade");
  });

  test("it ends with the session, and when the server stops", async () => {
    const token = await server.login("operator");
    const client = await open(server, { token });
    await server.call("POST", "/logout", { token });
    assert.deepEqual(await client.closed, { code: 1008, reason: "the session has ended" });
    const other = await open(server, { token: server.token });
    await server.restart();
    const { code } = await other.closed;
    assert.ok(code === 1001 || code === 1006, String(code));
  });

  test("who opened it is in the audit trail and in the events, from its begin on", async () => {
    const client = await open(server, { token: server.token });
    const told = async (list: string): Promise<unknown> => (await server.admin("GET", list)).body["items"];
    assert.match(
      JSON.stringify(await told("/audit?limit=1&filter=action=vm.console%20and%20result=succeeded")),
      /"user":"admin".*"vm-000000000000"/,
    );
    assert.match(JSON.stringify(await told("/events?filter=type=vm.console&limit=1")), /vm\.console by admin/);
    client.socket.close();
    await client.closed;
  });
});
