/** Overlays that QEMU makes, with clusters of all sizes, before and after the least that a guest can do to them. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, open, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { isEmptyOverlay } from "./empty-overlay.ts";

const run = promisify(execFile);

async function isEmpty(file: string): Promise<boolean> {
  await using handle = await open(file);
  return await isEmptyOverlay(async (offset, length) => {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  });
}

async function withOverlay(options: string, size: string, work: (overlay: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-overlay-"));
  try {
    const base = path.join(folder, "base.qcow2");
    const overlay = path.join(folder, "overlay.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", base, size]);
    await run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, "-o", options, overlay]);
    await work(overlay);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const kinds: readonly (readonly [options: string, size: string])[] = [
  ["cluster_size=65536", "64M"],
  ["cluster_size=512", "64M"],
  ["cluster_size=2M", "64M"],
  ["cluster_size=65536,compat=0.10", "64M"],
  ["cluster_size=65536,extended_l2=on", "64M"],
  ["cluster_size=65536,lazy_refcounts=on", "8T"],
];
/** The least that changes what a guest reads: one byte, zeros, a discard. */
const writes = ["write -P 7 1M 512", "write -z 1M 64k", "write -z -u 1M 64k"];

for (const [options, size] of kinds) {
  test(`an overlay of ${size} with ${options} is empty until something is written`, async () => {
    for (const write of writes) {
      await withOverlay(options, size, async (overlay) => {
        assert.equal(await isEmpty(overlay), true, "fresh");
        await run("qemu-io", ["-f", "qcow2", "-c", "read 0 1M", overlay]);
        assert.equal(await isEmpty(overlay), true, "after it was read");
        await run("qemu-io", ["-f", "qcow2", "-c", write, overlay]);
        assert.equal(await isEmpty(overlay), false, write);
      });
    }
  });
}

test("what is not understood counts as changed", async () => {
  await withOverlay("cluster_size=65536", "64M", async (overlay) => {
    await run("qemu-img", ["snapshot", "-c", "inside", overlay]);
    assert.equal(await isEmpty(overlay), false, "an internal snapshot");
  });
  await withOverlay("cluster_size=65536", "64M", async (overlay) => {
    await truncate(overlay, 196_608);
    assert.equal(await isEmpty(overlay), false, "cut off before its table");
    await truncate(overlay, 50);
    assert.equal(await isEmpty(overlay), false, "cut off in its header");
  });
  await withOverlay("cluster_size=65536", "64M", async (overlay) => {
    await using handle = await open(overlay, "r+");
    await handle.write(Buffer.from([0, 0, 0, 0, 0, 0, 1, 0]), 0, 8, 72);
    assert.equal(await isEmpty(overlay), false, "an unknown feature");
  });
  assert.equal(await isEmptyOverlay(async (_offset, length) => new Uint8Array(length)), false, "no qcow2");
});
