/** Large lists over HTTP: compressed as asked for, the same to all who ask, and never older than the last change. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { newId } from "@innkeeper/contract/id.ts";
import type { Network } from "@innkeeper/contract/resource/network.ts";
import { silentLogger } from "#core/log.ts";
import { startServer } from "../app/server.ts";
import { testConfig } from "../app/test-support/test-config.ts";
import { wire } from "../app/wire.ts";
import type { WireBase } from "../app/wiring.ts";

const adminPassword = "correct horse battery staple";
const count = 3000;

interface Page {
  readonly items: readonly Partial<Network>[];
  readonly totalCount: number;
  readonly nextCursor?: string;
  readonly revision: number;
}

async function fixture() {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-answer-"));
  let opened: WireBase["store"] | undefined;
  const server = await startServer(testConfig(folder, { adminPassword }), {
    log: silentLogger,
    wire: (base) => {
      opened = base.store;
      return wire(base);
    },
  });
  if (opened === undefined) throw new Error("it was not wired");
  const store = opened;
  const put = (index: number, forwardMode: Network["forwardMode"] = "nat") =>
    store.transaction((transaction) =>
      transaction.put("network", { ...networkOf(index), id: ids[index] ?? newId("network"), forwardMode }),
    );
  const ids = Array.from({ length: count }, () => newId("network"));
  await store.transaction(async (transaction) => {
    for (const [index, id] of ids.entries()) await transaction.put("network", { ...networkOf(index), id });
  });
  const login = await fetch(`${server.url}/api/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "admin", password: adminPassword }),
  });
  const { secret } = (await login.json()) as { secret: string };
  return {
    put,
    /** As it comes: fetch would decompress it. */
    async list(query: string, acceptEncoding?: string) {
      const headers = {
        authorization: `Bearer ${secret}`,
        ...(acceptEncoding === undefined ? {} : { "accept-encoding": acceptEncoding }),
      };
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        get(`${server.url}/api/v1/networks?${query}`, { headers, agent: false }, resolve).on("error", reject);
      });
      return { coding: response.headers["content-encoding"], headers: response.headers, body: await buffer(response) };
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}

function networkOf(index: number): Omit<Network, "id" | "revision"> {
  return {
    hostId: "host-000000000001",
    name: `net-${String(index).padStart(5, "0")}`,
    uuid: `uuid-${index}`,
    active: true,
    autostart: false,
    forwardMode: "nat",
    addresses: [`10.${index >> 8}.${index & 255}.1/24`],
    dhcp: false,
  };
}

const read = (content: Buffer): Page => JSON.parse(content.toString()) as Page;

test("the whole list in one answer, compressed as the client likes, and as it is now", async () => {
  await using under = await fixture();
  const query = `limit=100000&fields=name,forwardMode`;
  const plain = await under.list(query);
  const page = read(plain.body);
  assert.equal(plain.coding, undefined);
  assert.equal(page.items.length, count);
  assert.deepEqual(Object.keys(page.items[0] ?? {}), ["id", "name", "forwardMode"]);
  const zstd = await under.list(query, "gzip;q=0.5, zstd");
  assert.equal(zstd.coding, "zstd");
  assert.equal(zstd.headers.vary, "accept-encoding");
  assert.equal(Number(zstd.headers["content-length"]), zstd.body.length);
  assert.ok(zstd.body.length < plain.body.length / 4);
  assert.deepEqual(read(zstdDecompressSync(zstd.body)), page);
  const answers = await Promise.all(["gzip", "br", "gzip"].map((coding) => under.list(query, coding)));
  const [first, second, third] = answers.map(({ body }) => body);
  assert.ok(first && second && third);
  assert.deepEqual([read(gunzipSync(first)), read(brotliDecompressSync(second))], [page, page]);
  assert.deepEqual(first, third);
  // Changed by someone: the next answer has it, whatever was kept.
  for (const mode of ["bridge", "isolated"] as const) {
    await under.put(7, mode);
    const now = read(zstdDecompressSync((await under.list(query, "zstd")).body));
    assert.equal(now.items[7]?.forwardMode, mode);
    assert.ok(now.revision > page.revision);
  }
});

test("a small answer is sent as it is", async () => {
  await using under = await fixture();
  const answer = await under.list("limit=3&filter=net-0000", "zstd");
  assert.equal(answer.coding, undefined);
  assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
  const { items, totalCount, nextCursor } = read(answer.body);
  assert.deepEqual([items.length, totalCount, typeof nextCursor], [3, 10, "string"]);
});
