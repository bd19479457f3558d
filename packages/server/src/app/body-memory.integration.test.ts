/** Bodies of 50 MB cost the control plane no memory: they are refused by their length, or cut where they get too large. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ServerProcess } from "./test-support/server-process.ts";

const bodyBytes = 50_000_000;
const chunk = Buffer.alloc(64 * 1024, 0x20);
const atOnce = 8;

describe("bodies of 50 MB", { timeout: 120_000 }, () => {
  let folder: string;
  let server: ServerProcess;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "inn-body-"));
    server = await ServerProcess.start(folder);
    await server.login(server.firstPassword ?? "");
  });
  after(async () => {
    await server?.end("SIGKILL");
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  /** The answer's status; `cut` when the connection ended before an answer was read. */
  async function post(where: string, headers: Readonly<Record<string, string | number>>): Promise<unknown> {
    const all = { "content-type": "application/json", ...headers };
    const client = request(`${server.url}${where}`, { method: "POST", headers: all, agent: false });
    const answer = Promise.withResolvers<unknown>();
    client.on("response", (response) => answer.resolve(response.resume().statusCode));
    client.on("error", () => answer.resolve("cut"));
    const over = new AbortController();
    void answer.promise.then(() => over.abort());
    let sent = 0;
    // Not all at once: it is the server's memory that is looked at.
    while (!over.signal.aborted && sent < bodyBytes) {
      sent += chunk.length;
      if (!client.write(chunk)) await Promise.race([once(client, "drain").catch(() => undefined), answer.promise]);
    }
    client.end();
    const status = await answer.promise;
    client.destroy();
    return status;
  }

  async function peakBytes(): Promise<number> {
    const status = await readFile(`/proc/${server.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/mu.exec(status)?.[1]) * 1024;
  }

  test("are refused within the memory of one of them, eight at once, whoever sends them and however", async () => {
    const authorization = `Bearer ${server.token}`;
    const length = { "content-length": bodyBytes };
    const kinds: readonly (readonly [string, Readonly<Record<string, string | number>>])[] = [
      ["/api/v1/vms", { authorization, ...length }],
      ["/api/v1/vms", { authorization }],
      ["/api/v1/vms", length],
      ["/api/v1/login", length],
      ["/api/v1/login", {}],
    ];
    for (const [where, headers] of kinds) await post(where, headers);
    // proc(5): 5 resets the peak to what is resident now.
    await writeFile(`/proc/${server.pid}/clear_refs`, "5");
    const before = await peakBytes();
    const statuses: unknown[] = [];
    for (const [where, headers] of kinds) {
      const ends = await Promise.all(Array.from({ length: atOnce }, () => post(where, headers)));
      statuses.push(...ends);
    }
    const growth = (await peakBytes()) - before;
    assert.deepEqual(new Set(statuses).difference(new Set([413, 401, "cut"])), new Set());
    assert(statuses.includes(413), "nobody was told why");
    assert(growth < bodyBytes, `${growth} bytes more at most for ${kinds.length * atOnce} bodies`);
    assert.equal(typeof (await server.call<{ items: unknown }>("GET", "/vms")).items, "object");
  });
});
