import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { readFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM,
  VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
} from "#generated/storage-constant.ts";
import { LibvirtError } from "#rpc/error.ts";
import { daemonUnavailable, startDaemon } from "#testing/daemon.ts";
import { fakeServer } from "#testing/fake-server.ts";
import { createPool, createVolume, startGuest } from "#testing/fixture.ts";
import { connect } from "./connect.ts";
import { Hole } from "./stream.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { Connection } from "./connection.ts";
import type { StreamChunk } from "./stream.ts";

const MIB = 1_048_576;

async function collect(readable: ReadableStream<StreamChunk>): Promise<{ data: Buffer; holes: bigint[] }> {
  const parts: Uint8Array[] = [];
  const holes: bigint[] = [];
  for await (const chunk of readable) {
    if (chunk instanceof Hole) holes.push(chunk.length);
    else parts.push(chunk);
  }
  return { data: Buffer.concat(parts), holes };
}

describe("streams of a real libvirtd", { skip: daemonUnavailable() ?? false, timeout: 120_000 }, () => {
  let daemon: Daemon;
  let connection: Connection;
  let pool: string;

  before(async () => {
    daemon = await startDaemon();
    connection = await connect(`qemu:///system?socket=${daemon.socket}`);
    pool = await createPool(connection, daemon, "pool");
  });
  after(async () => {
    await connection?.close();
    await daemon?.stop();
  });

  for (const isDedicated of [true, false]) {
    test(`a volume goes up and comes down unchanged (${isDedicated ? "own" : "shared"} connection)`, async () => {
      const content = randomBytes(5 * MIB + 12_345);
      const name = `round-${isDedicated}`;
      const vol = await createVolume(connection, "pool", name, content.byteLength);
      const up = await connection.stream(
        "storageVolUpload",
        { vol, offset: 0n, length: BigInt(content.byteLength) },
        { isDedicated },
      );
      const writer = up.writable.getWriter();
      await writer.write(content.subarray(0, 1_000_001));
      await writer.write(content.subarray(1_000_001));
      await writer.close();
      await up.completed;
      assert.ok(content.equals(await readFile(join(pool, name))), "the file on the host");
      const down = await connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n }, { isDedicated });
      const { data } = await collect(down.readable);
      await down.completed;
      assert.ok(content.equals(data), "what came back");
    });
  }

  test("holes go up and come down as holes", async () => {
    const head = randomBytes(MIB);
    const tail = randomBytes(MIB);
    const vol = await createVolume(connection, "pool", "sparse", 66 * MIB);
    const up = await connection.stream("storageVolUpload", {
      vol,
      offset: 0n,
      length: BigInt(66 * MIB),
      flags: VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
    });
    const writer = up.writable.getWriter();
    for (const chunk of [head, new Hole(BigInt(64 * MIB)), tail]) await writer.write(chunk);
    await writer.close();
    const file = join(pool, "sparse");
    const { size, blocks } = await stat(file);
    assert.equal(size, 66 * MIB);
    assert.ok(blocks * 512 < 8 * MIB, `${blocks * 512} bytes are allocated`);
    const down = await connection.stream("storageVolDownload", {
      vol,
      offset: 0n,
      length: 0n,
      flags: VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM,
    });
    const { data, holes } = await collect(down.readable);
    assert.ok(Buffer.concat([head, tail]).equals(data));
    assert.deepEqual(holes, [BigInt(64 * MIB)]);
  });

  test("the server's error reaches both ends of the stream", async () => {
    const vol = await createVolume(connection, "pool", "missing", MIB);
    await assert.rejects(
      connection.stream("storageVolDownload", {
        vol: { ...vol, name: "no-such", key: "/no/such" },
        offset: 0n,
        length: 0n,
      }),
      (error) => error instanceof LibvirtError && error.codeName === "VIR_ERR_NO_STORAGE_VOL",
    );
    const up = await connection.stream("storageVolUpload", { vol, offset: 0n, length: BigInt(MIB) });
    const writer = up.writable.getWriter();
    const tooMuch = (async () => {
      for (let count = 0; count < 64; count += 1) await writer.write(new Uint8Array(MIB));
      await writer.close();
    })();
    await assert.rejects(tooMuch, LibvirtError);
    await assert.rejects(up.completed, LibvirtError);
    assert.equal((await connection.remote.connectGetHostname()).hostname.length > 0, true);
  });

  test("cancelling, aborting and a signal end a download; the connection goes on", async () => {
    const vol = await createVolume(connection, "pool", "big", 256 * MIB);
    await truncate(join(pool, "big"), 256 * MIB);
    const args = { vol, offset: 0n, length: 0n };
    for (const isDedicated of [true, false]) {
      const first = await connection.stream("storageVolDownload", args, { isDedicated });
      const reader = first.readable.getReader();
      assert.equal((await reader.read()).done, false);
      await reader.cancel("enough");
      await assert.rejects(first.completed);
      const controller = new AbortController();
      const second = await connection.stream("storageVolDownload", args, { isDedicated, signal: controller.signal });
      const reason = new Error("no longer wanted");
      controller.abort(reason);
      await assert.rejects(collect(second.readable), reason);
      await connection.remote.connectGetLibVersion();
    }
  });

  test("a slow reader stops the server: memory stays bounded and other calls go on", async () => {
    const vol = await createVolume(connection, "pool", "slow", 160 * MIB);
    await truncate(join(pool, "slow"), 160 * MIB);
    const down = await connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n });
    const reader = down.readable.getReader();
    await reader.read();
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 500; count += 1) await connection.remote.connectGetLibVersion();
    const grown = process.memoryUsage().arrayBuffers - before;
    assert.ok(grown < 32 * MIB, `${grown} bytes were read ahead`);
    let total = 0;
    await reader.cancel();
    const whole = await connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n });
    for await (const chunk of whole.readable) total += chunk instanceof Hole ? 0 : chunk.byteLength;
    assert.equal(total, 160 * MIB);
  });

  test("over a shared connection a slow reader stops its reading, and keepalive bears with it", async () => {
    const vol = await createVolume(connection, "pool", "shared", 64 * MIB);
    await truncate(join(pool, "shared"), 64 * MIB);
    const keepalive = { intervalMs: 150, count: 3 };
    await using shared = await connect(connection.uri, { keepalive });
    const down = await shared.stream("storageVolDownload", { vol, offset: 0n, length: 0n }, { isDedicated: false });
    const reader = down.readable.getReader();
    await reader.read();
    const behind = shared.remote.connectGetHostname();
    // Meanwhile a server that is really silent is given up.
    await using silent = await fakeServer(() => undefined);
    const given = await connect(silent.uri, { keepalive });
    await assert.rejects(given.remote.connectGetHostname(), { name: "ConnectionLostError", reason: "keepalive" });
    assert.equal(shared.isOpen, true);
    while (!(await reader.read()).done);
    await Promise.all([behind, down.completed]);
  });

  test("the console carries both directions, the screenshot an image", async () => {
    const dom = await startGuest(connection, "console");
    const console_ = await connection.stream("domainOpenConsole", { dom, devName: null });
    const reader = console_.readable.getReader();
    let text = "";
    while (!/SeaBIOS|iPXE|Booting/u.test(text)) {
      const { value, done } = await reader.read();
      assert.equal(done, false, `the console ended after ${JSON.stringify(text)}`);
      if (value instanceof Uint8Array) text += Buffer.from(value).toString("latin1");
    }
    const writer = console_.writable.getWriter();
    await writer.write(Buffer.from("\r"));
    const shot = await connection.stream("domainScreenshot", { dom, screen: 0 });
    assert.equal(shot.ret.mime, "image/png");
    const { data } = await collect(shot.readable);
    assert.equal(data.subarray(1, 4).toString("latin1"), "PNG");
    await connection.remote.domainDestroy({ dom });
    // The guest is gone: the console ends, with an error or with the end of data, but it ends.
    await assert.doesNotReject(
      Promise.race([
        reader.closed.catch(() => undefined),
        (async () => {
          while (!(await reader.read()).done);
        })().catch(() => undefined),
      ]),
    );
  });
});
