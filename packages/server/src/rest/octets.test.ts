/** Uploads and downloads: as fast as the slower side, exactly as long as announced, and given up when a side goes. */
import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { request as httpRequest, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "#core/app-error.ts";
import { AccessControl } from "#management/access/access.ts";
import { startTestServer, type TestServer } from "#app/test-support/test-server.ts";

const chunkBytes = 64 * 1024;

describe("octet streams", () => {
  let server: TestServer;
  let received = 0;
  let refuse = false;
  let produced = 0;
  let downloadCancelled = Promise.withResolvers<void>();
  let uploadError: unknown;
  let uploadBegun = Promise.withResolvers<void>();
  let uploadEnded = Promise.withResolvers<void>();
  let wasGoneAtDownload = false;
  before(async () => {
    server = await startTestServer({
      replace: () => ({
        volume: {
          async upload(_id, content, sizeBytes) {
            received = 0;
            try {
              for await (const chunk of content) {
                received += chunk.byteLength;
                uploadBegun.resolve();
                if (refuse) throw new AppError("disk_full", "The pool is full.");
              }
            } catch (error) {
              uploadError = error;
              uploadEnded.resolve();
              throw error;
            }
            return { id: "vol-000000000000", revision: 1, capacityBytes: sizeBytes } as never;
          },
          async download(_id, { signal }) {
            produced = 0;
            wasGoneAtDownload = signal.aborted;
            const content = new ReadableStream<Uint8Array>({
              pull(controller) {
                produced += chunkBytes;
                controller.enqueue(new Uint8Array(chunkBytes));
                if (produced === 512 * chunkBytes) controller.close();
              },
              cancel: () => downloadCancelled.resolve(),
            });
            return { content, sizeBytes: 512 * chunkBytes };
          },
        },
      }),
    });
  });
  after(() => server[Symbol.asyncDispose]());

  const upload = (body: Uint8Array, headers: Record<string, string> = {}) =>
    server.call("PUT", "/volumes/vol-000000000000/content", {
      token: server.token,
      body,
      headers: { "content-type": "application/octet-stream", ...headers },
    });

  test("an upload arrives whole; without a length or of another type it is refused", async () => {
    const answer = await upload(Buffer.alloc(5_000_000, 7));
    assert.equal(answer.status, 200);
    assert.equal(received, 5_000_000);
    assert.equal(answer.headers.get("etag"), '"1"');
    assert.equal((await upload(Buffer.from("{}"), { "content-type": "application/json" })).status, 400);
    const chunked = await raw({ "transfer-encoding": "chunked" }, ["abc"]);
    assert.match(chunked, /^400 .*Content-Length/s);
  });

  test("an upload that breaks off is an error on the other side, too", async () => {
    uploadBegun = Promise.withResolvers();
    uploadEnded = Promise.withResolvers();
    const { port } = new URL(server.url);
    const request = httpRequest({
      port,
      method: "PUT",
      path: "/api/v1/volumes/vol-000000000000/content",
      headers: {
        authorization: `Bearer ${server.token}`,
        "content-type": "application/octet-stream",
        "content-length": "1000000",
      },
    });
    request.on("error", () => undefined);
    request.write(Buffer.alloc(1000));
    await uploadBegun.promise;
    request.destroy();
    await uploadEnded.promise;
    assert.match(String(uploadError), /broke off after \d+ bytes/);
  });

  test("an upload that is refused in the middle is answered although its body was not read", async () => {
    refuse = true;
    const answer = await upload(Buffer.alloc(3_000_000));
    refuse = false;
    assert.equal(answer.status, 507);
    assert.equal(answer.body["code"], "disk_full");
  });

  test("who sends on after the refusal is heard out, and asks on: cut off, he might lose the answer", async () => {
    const { port } = new URL(server.url);
    const chunks = 40;
    await using socket = connect(Number(port), "127.0.0.1");
    const closed = once(socket, "close");
    let answers = "";
    socket.setEncoding("utf8").on("data", (text: string) => (answers += text));
    const ask = (method: string, where: string, ...headers: readonly string[]): void => {
      const lines = [
        `${method} /api/v1${where} HTTP/1.1`,
        "Host: x",
        `Authorization: Bearer ${server.token}`,
        ...headers,
      ];
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    };
    const type = "Content-Type: application/octet-stream";
    ask("PUT", "/images?name=i&pool=p&sizeBytes=10", type, `Content-Length: ${chunks * chunkBytes}`);
    for (let sentChunks = 0; sentChunks < chunks; sentChunks++) {
      socket.write(new Uint8Array(chunkBytes));
      await delay(10);
    }
    ask("GET", "/vms", "Connection: close");
    await closed;
    const statuses = Array.from(answers.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => status);
    assert.deepEqual(statuses, ["400", "200"]);
  });

  test("an image's sizeBytes must be its length", async () => {
    const query = "?name=i&pool=p&sizeBytes=10";
    const answer = await server.call("PUT", `/images${query}`, {
      token: server.token,
      body: Buffer.alloc(11),
      headers: { "content-type": "application/octet-stream" },
    });
    assert.equal(answer.status, 400);
    assert.equal(answer.body["field"], "sizeBytes");
  });

  test("a download has its length, waits for who reads it, and is cancelled when he goes", async () => {
    const where = `${server.url}/api/v1/volumes/vol-000000000000/content`;
    const headers = { authorization: `Bearer ${server.token}` };
    const whole = await fetch(where, { headers });
    assert.equal(whole.headers.get("content-length"), String(512 * chunkBytes));
    assert.equal((await whole.arrayBuffer()).byteLength, 512 * chunkBytes);
    downloadCancelled = Promise.withResolvers();
    const abort = new AbortController();
    const part = await fetch(where, { headers, signal: abort.signal });
    const reader = part.body?.getReader();
    await reader?.read();
    assert.ok(produced < 512 * chunkBytes, "it does not run ahead of its reader");
    abort.abort();
    await downloadCancelled.promise;
  });

  test("a download whose client left before it began is cancelled, and its signal has aborted", async ({ mock }) => {
    const begun = Promise.withResolvers<ServerResponse>();
    const onStart = (message: unknown): void => begun.resolve((message as { response: ServerResponse }).response);
    subscribe("http.server.request.start", onStart);
    downloadCancelled = Promise.withResolvers();
    const abort = new AbortController();
    const { authenticate } = AccessControl.prototype;
    mock.method(AccessControl.prototype, "authenticate", async function (this: AccessControl, secret?: string) {
      const closed = once(await begun.promise, "close");
      abort.abort();
      await closed;
      return authenticate.call(this, secret);
    });
    const where = `${server.url}/api/v1/volumes/vol-000000000000/content`;
    const headers = { authorization: `Bearer ${server.token}` };
    await assert.rejects(fetch(where, { headers, signal: abort.signal }));
    await downloadCancelled.promise;
    assert.ok(wasGoneAtDownload);
    unsubscribe("http.server.request.start", onStart);
  });

  function raw(headers: Record<string, string>, body: readonly string[]): Promise<string> {
    const { port } = new URL(server.url);
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          port,
          method: "PUT",
          path: "/api/v1/volumes/vol-000000000000/content",
          headers: {
            authorization: `Bearer ${server.token}`,
            "content-type": "application/octet-stream",
            ...headers,
          },
        },
        (response) => {
          let text = `${response.statusCode} `;
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve(text));
        },
      );
      request.on("error", reject);
      for (const part of body) request.write(part);
      request.end();
    });
  }
});
