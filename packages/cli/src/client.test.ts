/** The client against an HTTP server that says what each test wants: problems, other people's servers, silence, streams. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import { errorCode, errorCodes } from "@innkeeper/contract/error-code.ts";
import { ApiClient } from "#client.ts";
import { CliError, errorText } from "#cli-error.ts";
import { serverSentEvents, watch } from "#watch.ts";

interface TestServer extends AsyncDisposable {
  readonly api: ApiClient;
  readonly url: URL;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

async function serve(answer: Answer): Promise<TestServer> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const api = new ApiClient({ server: url, token: "secret" }, AbortSignal.timeout(20_000));
  return {
    api,
    url,
    async [Symbol.asyncDispose]() {
      api[Symbol.dispose]();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function json(response: ServerResponse, status: number, document: unknown, type = "application/json"): void {
  response.writeHead(status, { "content-type": type }).end(JSON.stringify(document));
}

async function failureOf(work: Promise<unknown>): Promise<CliError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CliError, `no CliError: ${String(error)}`);
  return error;
}

async function* chunks(count: number): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < count; index += 1) yield Buffer.alloc(65_536, index);
}

suite("calls", () => {
  test("parameters, query, body and token go where they belong", async () => {
    const seen: unknown[] = [];
    await using server = await serve(async (request, response) => {
      seen.push([
        request.method,
        request.url,
        request.headers.authorization,
        request.headers["if-match"],
        await text(request),
      ]);
      json(response, 202, { id: "task-1" });
    });
    await server.api.call("snapshotCreate", {
      parameters: { vmId: "vm/../x" },
      query: { waitMs: 5 },
      body: { name: "快照" },
      ifRevision: 7,
    });
    assert.deepEqual(seen, [
      ["POST", "/api/v1/vms/vm%2F..%2Fx/snapshots?waitMs=5", "Bearer secret", '"7"', '{"name":"快照"}'],
    ]);
  });

  test("nothing comes of an answer without content", async () => {
    await using server = await serve((_request, response) => void response.writeHead(204).end());
    assert.equal(await server.api.call("logout"), undefined);
  });

  test("each problem exits with the code of the table, in the server's words", async () => {
    await using server = await serve((request, response) => {
      const code = new URL(request.url ?? "", "http://x").searchParams.get("filter") as keyof typeof errorCode;
      const row = errorCode[code];
      const problem = {
        type: "",
        title: row.title,
        status: row.httpStatus,
        code,
        detail: "what happened",
        field: "name",
        remedy: "do",
      };
      json(response, row.httpStatus, problem, "application/problem+json");
    });
    for (const code of errorCodes) {
      const error = await failureOf(server.api.call("vmList", { query: { filter: code } }));
      assert.equal(error.detail.exitCode, errorCode[code].exitCode, code);
      assert.equal(errorText(error), "error: what happened\n  field:      name\n  what to do: do\n");
    }
  });

  test("a filter that can't be read is shown with the place", async () => {
    await using server = await serve((_request, response) => {
      const problem = {
        title: "bad",
        status: 422,
        code: "invalid_field",
        detail: "No.",
        field: "filter",
        fault: { position: 6 },
      };
      json(response, 422, problem, "application/problem+json");
    });
    const error = await failureOf(server.api.page("vmList", { filter: "state=runing and 中" }));
    assert.equal(
      errorText(error),
      ["error: No.", "  field:      filter", "  here:       state=runing and 中", "                    ^", ""].join(
        "\n",
      ),
    );
  });

  test("what someone else changed is told: which field, from what to what, who and when", async () => {
    await using server = await serve((_request, response) => {
      const changes = [
        { field: "memory.sizeMiB", before: 1024, after: 2048, by: "alice", at: "soon", taskId: "task-1" },
        { field: "addresses" },
        { field: "description", before: "" },
      ];
      const problem = { title: "changed", status: 412, code: "precondition_failed", detail: "No.", changes };
      json(response, 412, problem, "application/problem+json");
    });
    const error = await failureOf(server.api.call("me"));
    assert.equal(error.detail.exitCode, 75);
    assert.equal(
      errorText(error),
      "error: No.\n" +
        "  changed:    memory.sizeMiB: 1024 → 2048, by alice soon (task-1)\n" +
        "  changed:    addresses\n" +
        '  changed:    description: "" → …\n',
    );
  });

  test("something that is no Innkeeper server is said to be none", async () => {
    await using server = await serve((_request, response) => void response.writeHead(502, "Bad Gateway").end("<html>"));
    const error = await failureOf(server.api.call("me"));
    assert.match(error.message, /answered 502 Bad Gateway and is no Innkeeper server/);
    assert.equal(error.detail.exitCode, 76);
  });

  test("a server that is not there, and one that is silent", async () => {
    const { url } = await (async () => {
      await using gone = await serve(() => undefined);
      return { url: gone.url };
    })();
    using api = new ApiClient({ server: url, token: undefined });
    const refused = await failureOf(api.call("me"));
    assert.match(refused.message, /nothing listens there/);
    assert.equal(refused.detail.exitCode, 69);
    await using silent = await serve(() => undefined);
    const late = await failureOf(silent.api.call("me", { timeoutMs: 50 }));
    assert.equal(late.detail.code, "timeout");
    assert.equal(late.detail.exitCode, 75);
  });

  test("an upload is sent in full, with its length; a refusal in its midst counts", async () => {
    let received = 0;
    await using server = await serve(async (request, response) => {
      if (request.url?.includes("name=bad") === true) {
        const problem = { type: "", title: "t", status: 409, code: "name_taken", detail: "taken" };
        json(response, 409, problem, "application/problem+json");
        return;
      }
      assert.equal(request.headers["content-length"], String(65_536 * 100));
      for await (const chunk of request as AsyncIterable<Buffer>) received += chunk.length;
      json(response, 201, { name: "a" });
    });
    const query = { name: "a", pool: "p", sizeBytes: 65_536 * 100 };
    const sizeBytes = query.sizeBytes;
    await server.api.upload("imageUpload", { query }, { stream: chunks(100), sizeBytes });
    assert.equal(received, sizeBytes);
    const refused = await failureOf(
      server.api.upload("imageUpload", { query: { ...query, name: "bad" } }, { stream: chunks(100), sizeBytes }),
    );
    assert.equal(refused.message, "taken");
  });
});

suite("watch", () => {
  test("events are put together from any chunks", async () => {
    const stream = (async function* () {
      for (const part of [
        "id: 1\nda",
        'ta: {"a":',
        "1}\n",
        "\n: beat\n\ndata: x\r\ndata: y\r\n\r",
        "\nid: 7\n\ndata: lost",
      ])
        yield Buffer.from(part);
    })();
    const events = await Array.fromAsync(serverSentEvents(stream));
    assert.deepEqual(events, [{ id: "1", data: '{"a":1}' }, { data: "x\ny" }, { id: "7", data: "" }]);
  });

  test("a watch that is cut goes on after the last revision", async () => {
    const asked: (string | null)[] = [];
    await using server = await serve((request, response) => {
      const since = new URL(request.url ?? "", "http://x").searchParams.get("since");
      asked.push(since);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const next = Number(since) + 1;
      response.write(`id: ${next}\ndata: {"revision":${next},"kind":"vm","id":"vm-1","operation":"put"}\n\n`);
      setImmediate(() => response.destroy());
    });
    const stop = new AbortController();
    const revisions: number[] = [];
    for await (const change of watch(server.api, { since: 4, kinds: ["vm"], signal: stop.signal })) {
      revisions.push(change.revision);
      if (revisions.length === 3) stop.abort();
    }
    assert.deepEqual(revisions, [5, 6, 7]);
    assert.deepEqual(asked.slice(0, 3), ["4", "5", "6"]);
  });

  test("a watch of what seldom changes goes on after what it was told last, with or without a change", async () => {
    const asked: (string | null)[] = [];
    await using server = await serve((request, response) => {
      asked.push(new URL(request.url ?? "", "http://x").searchParams.get("since"));
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (asked.length === 1) response.write("id: 90000\n\n");
      else response.write('id: 90001\ndata: {"revision":90001,"kind":"vm","id":"vm-1","operation":"put"}\n\n');
      setImmediate(() => response.destroy());
    });
    const { value } = await watch(server.api, { signal: AbortSignal.timeout(10_000) }).next();
    assert.equal(value?.revision, 90_001);
    assert.deepEqual(asked, [null, "90000"]);
  });

  test("a server that greets and ends every watch is asked less and less often", async () => {
    const askedMs: number[] = [];
    const stop = new AbortController();
    await using server = await serve((_request, response) => {
      askedMs.push(performance.now());
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end("id: 90000\n\n");
      if (askedMs.length === 4) stop.abort();
    });
    await watch(server.api, { signal: stop.signal }).next();
    const [, , third = 0, fourth = 0] = askedMs;
    assert.ok(fourth - third >= 900, "the third pause is of 1 s at least");
  });

  test("a refusal ends it", async () => {
    await using server = await serve((_request, response) => {
      json(
        response,
        403,
        { type: "", title: "t", status: 403, code: "forbidden", detail: "no" },
        "application/problem+json",
      );
    });
    const first = watch(server.api, { signal: AbortSignal.timeout(10_000) }).next();
    assert.equal((await failureOf(first)).detail.exitCode, 77);
  });
});
