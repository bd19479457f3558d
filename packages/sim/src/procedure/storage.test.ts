// Pools and volumes of a simulated host, as a client sees them.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { Hole, type StreamChunk } from "@innkeeper/libvirt";
import { SharedStorage } from "#host/file/shared-storage.ts";
import { openHost, type OpenHost } from "#testing/open-host.ts";

const images = "/var/lib/libvirt/images";

async function poolOf({ connection: { remote } }: OpenHost, name: string, path: string) {
  const xml = `<pool type='dir'><name>${name}</name><target><path>${path}</path></target></pool>`;
  return (await remote.storagePoolCreateXml({ xml, flags: 1 })).pool;
}

const volumeXml = (name: string, capacityBytes: number, format = "raw", more = ""): string =>
  `<volume><name>${name}</name><capacity>${capacityBytes}</capacity><allocation>0</allocation><target><format type='${format}'/></target>${more}</volume>`;

async function chunksOf(readable: AsyncIterable<StreamChunk>): Promise<StreamChunk[]> {
  const chunks: StreamChunk[] = [];
  for await (const chunk of readable) chunks.push(chunk);
  return chunks;
}

describe("storage of a simulated host", { timeout: 20_000 }, () => {
  test("content goes in and comes out, holes stay holes, and the pool is read anew", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const pool = await poolOf(opened, "p", images);
    const refreshed = opened.connection.events.storagePool("refresh");
    await refreshed.ready;
    const { vol } = await remote.storageVolCreateXml({ pool, xml: volumeXml("a.raw", 1_000_000) });
    const upload = await opened.connection.stream("storageVolUpload", { vol, offset: 0n, length: 0n, flags: 1 });
    const content = randomBytes(300_000);
    const writer = upload.writable.getWriter();
    await writer.write(new Hole(500_000n));
    await writer.write(content);
    await writer.close();
    for await (const event of refreshed) {
      assert.equal(event.pool.name, "p");
      break;
    }
    assert.equal((await remote.storageVolGetInfo({ vol })).capacity, 800_000n);
    const sparse = await opened.connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n, flags: 1 });
    const [hole, ...data] = await chunksOf(sparse.readable);
    assert.ok(hole instanceof Hole && hole.length >= 400_000n);
    const full = await opened.connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n });
    const bytes = Buffer.concat((await chunksOf(full.readable)) as Uint8Array[]);
    assert.ok(bytes.subarray(500_000).equals(content) && bytes.subarray(0, 500_000).equals(Buffer.alloc(500_000)));
    assert.ok(Buffer.concat(data as Uint8Array[]).equals(bytes.subarray(Number(hole.length))));
  });

  test("an uploaded image is what its header says, and a copy of it holds the same", async () => {
    await using opened = await openHost();
    const { remote } = opened.connection;
    const pool = await poolOf(opened, "p", images);
    const made = await remote.storageVolCreateXml({ pool, xml: volumeXml("base.qcow2", 5_000_000, "qcow2") });
    const download = await opened.connection.stream("storageVolDownload", { vol: made.vol, offset: 0n, length: 0n });
    const image = Buffer.concat((await chunksOf(download.readable)) as Uint8Array[]);
    const { vol } = await remote.storageVolCreateXml({ pool, xml: volumeXml("up", 1) });
    const upload = await opened.connection.stream("storageVolUpload", { vol, offset: 0n, length: 0n });
    const writer = upload.writable.getWriter();
    await writer.write(image);
    await writer.close();
    await remote.storagePoolRefresh({ pool });
    assert.match((await remote.storageVolGetXmlDesc({ vol })).xml, /<capacity unit='bytes'>5000000<[\s\S]*'qcow2'/u);
    const copying = remote.storageVolCreateXmlFrom({ pool, xml: volumeXml("copy", 0, "qcow2"), clonevol: vol });
    await assert.rejects(async () => {
      for (;;) await remote.storagePoolRefresh({ pool });
    }, /pool 'p' has asynchronous jobs running/u);
    await assert.rejects(remote.storageVolDelete({ vol }), /volume 'up' is still in use/u);
    await opened.clock.advance(60_000);
    const copy = await opened.connection.stream("storageVolDownload", {
      vol: (await copying).vol,
      offset: 0n,
      length: 0n,
    });
    assert.ok(Buffer.concat((await chunksOf(copy.readable)) as Uint8Array[]).equals(image));
  });

  test("a full disk refuses with libvirt's words and errno, and keeps its books", async () => {
    await using opened = await openHost({ storageBytes: 10_000_000 });
    const { remote } = opened.connection;
    const pool = await poolOf(opened, "p", images);
    const xml = "<volume><name>big</name><capacity>20000000</capacity></volume>";
    await assert.rejects(remote.storageVolCreateXml({ pool, xml }), {
      codeName: "VIR_ERR_SYSTEM_ERROR",
      int1: 28,
      message: `cannot allocate 20000000 bytes in file '${images}/big': No space left on device`,
    });
    const { vol } = await remote.storageVolCreateXml({ pool, xml: volumeXml("thin", 20_000_000) });
    const upload = await opened.connection.stream("storageVolUpload", { vol, offset: 0n, length: 0n });
    const writer = upload.writable.getWriter();
    await assert.rejects(async () => {
      for (;;) await writer.write(randomBytes(262_120));
    }, /Unable to write .*thin: No space left on device/u);
    await remote.storageVolDelete({ vol });
    await remote.storagePoolRefresh({ pool });
    assert.equal((await remote.storagePoolGetInfo({ pool })).available, 10_000_000n);
  });

  test("hosts that mount one export see each other's volumes", async () => {
    const shared = new SharedStorage({ defaultBytes: 1e12 });
    await using first = await openHost({ shared });
    await using second = await openHost({ shared, name: "h2" });
    const xml = `<pool type='netfs'><name>nfs</name><source><host name='n1'/><dir path='/vms'/></source><target><path>/mnt/nfs</path></target></pool>`;
    const { pool } = await first.connection.remote.storagePoolCreateXml({ xml, flags: 1 });
    const other = (await second.connection.remote.storagePoolCreateXml({ xml, flags: 1 })).pool;
    await first.connection.remote.storageVolCreateXml({ pool, xml: volumeXml("shared.raw", 1) });
    const find = () => second.connection.remote.storageVolLookupByName({ pool: other, name: "shared.raw" });
    await assert.rejects(find(), /no storage vol with matching name 'shared.raw'/u);
    await second.connection.remote.storagePoolRefresh({ pool: other });
    assert.equal((await find()).vol.key, "/mnt/nfs/shared.raw");
    await second.connection.remote.storagePoolDestroy({ pool: other });
    assert.equal(second.host.files.find("/mnt/nfs/shared.raw"), undefined);
  });
});
