import assert from "node:assert/strict";
import { test } from "node:test";
import { inspectedBytes, inspectImage } from "./image-format.ts";
import { withHead } from "./upload-head.ts";

interface Header {
  version?: number;
  backingOffset?: bigint;
  clusterBits?: number;
  capacity?: bigint;
  crypt?: number;
  l1?: readonly [entries: number, offset: bigint];
  refcount?: readonly [offset: bigint, clusters: number];
  incompatible?: bigint;
  l2Offset?: bigint;
}

/** A qcow2 file's begin: header, and its L1 table at 64 KiB. */
function qcow2(header: Header = {}): Buffer {
  const bytes = Buffer.alloc(5 * 65_536);
  bytes.write("QFI\u00fb", 0, "latin1");
  bytes.writeUInt32BE(header.version ?? 3, 4);
  bytes.writeBigUInt64BE(header.backingOffset ?? 0n, 8);
  bytes.writeUInt32BE(header.clusterBits ?? 16, 20);
  bytes.writeBigUInt64BE(header.capacity ?? 1n << 30n, 24);
  bytes.writeUInt32BE(header.crypt ?? 0, 32);
  bytes.writeUInt32BE(header.l1?.[0] ?? 2, 36);
  bytes.writeBigUInt64BE(header.l1?.[1] ?? 65_536n, 40);
  bytes.writeBigUInt64BE(header.refcount?.[0] ?? 131_072n, 48);
  bytes.writeUInt32BE(header.refcount?.[1] ?? 1, 56);
  bytes.writeBigUInt64BE(header.incompatible ?? 0n, 72);
  bytes.writeBigUInt64BE((1n << 63n) | (header.l2Offset ?? 196_608n), 65_536);
  return bytes;
}

function at(offset: number, bytes: readonly number[] | string): Buffer {
  const file = Buffer.alloc(131_072);
  file.set(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes, offset);
  return file;
}

test("a sound qcow2 file is accepted with its own capacity", () => {
  for (const version of [2, 3]) {
    const file = qcow2({ version });
    assert.deepEqual(inspectImage(file, file.length), { format: "qcow2", capacityBytes: 1 << 30 });
  }
});

test("hostile and broken qcow2 files are refused with the reason", () => {
  const rows: [Header, RegExp][] = [
    [{ backingOffset: 512n }, /backing file/],
    [{ incompatible: 4n }, /data file/],
    [{ crypt: 2 }, /encrypted/],
    [{ capacity: 1n << 63n }, /claims 9223372036854775808 bytes/],
    [{ capacity: 0n }, /claims/],
    [{ clusterBits: 40 }, /clusters/],
    [{ version: 9 }, /unknown version/],
    [{ l1: [10_000, 327_680n] }, /cut off/],
    [{ refcount: [1n << 40n, 1] }, /cut off/],
    [{ l2Offset: 1n << 40n }, /cut off/],
  ];
  for (const [header, words] of rows) {
    const file = qcow2(header);
    assert.throws(() => inspectImage(file, file.length), { code: "invalid_field", message: words }, String(words));
  }
  assert.throws(() => inspectImage(qcow2().subarray(0, 50), 50), /cut off/);
});

test("raw disks and ISO files are known by what they begin with", () => {
  const raws = [
    at(510, [0x55, 0xaa]),
    at(512, "EFI PART"),
    at(1080, [0x53, 0xef]),
    at(0, "XFSB"),
    at(65_600, "_BHRfS_M"),
  ];
  for (const raw of raws) assert.deepEqual(inspectImage(raw, raw.length), { format: "raw", capacityBytes: raw.length });
  const iso = at(32_769, "CD001");
  assert.equal(inspectImage(iso, iso.length).format, "iso");
  const cut = at(510, [0x55, 0xaa]);
  assert.throws(() => inspectImage(cut, cut.length - 100), /cut off/);
  const refused: [Buffer, RegExp][] = [
    [at(0, "KDMV"), /VMDK/],
    [at(64, [0x7f, 0x10, 0xda, 0xbe]), /VDI/],
    [at(0, "vhdxfile"), /VHDX/],
    [at(0, [0x1f, 0x8b]), /gzip/],
    [at(0, "PK\u0003\u0004"), /zip/],
    [at(257, "ustar"), /tar/],
    [at(0, "<!DOCTYPE html>"), /not a disk image/],
    [Buffer.alloc(0), /not a disk image/],
  ];
  for (const [file, words] of refused) assert.throws(() => inspectImage(file, file.length), words);
});

test("a stream's head is read without losing anything, in any cutting", async () => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));
  for (const size of [1, 7, 400, 1000]) {
    for (const headBytes of [1, 500, inspectedBytes]) {
      const cuts = Array.from({ length: Math.ceil(1000 / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const { head, content } = await withHead(ReadableStream.from(cuts), headBytes);
      assert.ok(Buffer.from(head).equals(bytes.subarray(0, headBytes)));
      assert.ok(Buffer.from(await new Response(content).arrayBuffer()).equals(bytes));
    }
  }
});

test("cancelling the rest cancels the source", async () => {
  let cancelled: unknown;
  const source = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(10)),
    cancel: (reason) => void (cancelled = reason),
  });
  const { content } = await withHead(source, 5);
  await content.cancel("enough");
  assert.equal(cancelled, "enough");
});
