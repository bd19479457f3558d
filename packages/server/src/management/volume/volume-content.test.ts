/** Content that leads out of a host's pools is found, however deep it lies and however it is written. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempDisposableSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { HostVolume } from "#storage/port.ts";
import { requireDiskAsNamed, requireOwnContent, requireRawContent } from "./volume-content.ts";

function qcow2(backing?: string, dataFile = false): Buffer {
  const bytes = Buffer.alloc(65_536);
  bytes.write("QFI\u00fb", 0, "latin1");
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(104, 100);
  if (dataFile) bytes.writeBigUInt64BE(4n, 72);
  if (backing === undefined) return bytes;
  bytes.writeBigUInt64BE(512n, 8);
  bytes.writeUInt32BE(Buffer.byteLength(backing), 16);
  bytes.write(backing, 512);
  return bytes;
}

function volume(name: string): HostVolume {
  return {
    poolName: "default",
    name,
    path: `/pool/${name}`,
    format: "qcow2",
    capacityBytes: 1,
    allocationBytes: 1,
  };
}

/** The files of one pool. */
function pool(files: Readonly<Record<string, Buffer>>) {
  const volumes = {
    findVolumeByPath: async (path: string) => {
      const name = path.replace(/^\/pool\//, "");
      return Object.hasOwn(files, name) ? volume(name) : undefined;
    },
    read: async (_pool: string, name: string, { offset, length }: { offset: number; length: number }) =>
      (files[name] ?? Buffer.alloc(0)).subarray(offset, offset + length),
    fileBytes: async (_pool: string, name: string) => files[name]?.byteLength ?? 0,
  };
  const signal = AbortSignal.timeout(10_000);
  return {
    own: (name: string) => requireOwnContent(volumes, volume(name), { signal }, "volumeId"),
    named: (name: string) => requireDiskAsNamed(volumes, volume(name), { signal }, "volumeId"),
    raw: (name: string) => requireRawContent(volumes, volume(name), { signal }, "volumeId"),
  };
}

test("chains within the pools are taken, relative names, too", async () => {
  const { own } = pool({
    "top.qcow2": qcow2("/pool/middle.qcow2"),
    "middle.qcow2": qcow2("./base.qcow2"),
    "base.qcow2": qcow2(),
    "plain.img": Buffer.alloc(65_536),
  });
  for (const name of ["top.qcow2", "middle.qcow2", "base.qcow2", "plain.img"]) await own(name);
});

test("what leads out is refused, by field", async () => {
  const { own } = pool({
    "absolute.qcow2": qcow2("/etc/shadow"),
    "dots.qcow2": qcow2("../etc/shadow"),
    "tricky.qcow2": qcow2("/pool/../etc/shadow"),
    "json.qcow2": qcow2('json:{"driver":"file","filename":"/etc/shadow"}'),
    "nbd.qcow2": qcow2("nbd://192.0.2.1/x"),
    "control.qcow2": qcow2("a\u0000b"),
    "deep.qcow2": qcow2("absolute.qcow2"),
    "data.qcow2": qcow2(undefined, true),
    "loop.qcow2": qcow2("loop.qcow2"),
  });
  for (const name of ["absolute", "dots", "tricky", "json", "nbd", "control", "deep", "data", "loop"]) {
    await assert.rejects(own(`${name}.qcow2`), { code: "invalid_field", field: "volumeId" }, name);
  }
});

test("a raw disk that a guest made look like another is not copied by that look", async () => {
  const { raw, own } = pool({
    "raw.img": Buffer.alloc(65_536),
    "looks.img": qcow2("/etc/shadow"),
    "vmdk.img": Buffer.from("KDMV".padEnd(65_536, "\0")),
  });
  await raw("raw.img");
  await assert.rejects(raw("looks.img"), { code: "conflict" });
  await assert.rejects(raw("vmdk.img"), { code: "conflict", message: /VMDK/ });
  await assert.rejects(own("vmdk.img"), { code: "unsupported", message: /VMDK/ });
});

test("what is cut off, or larger than any disk, is refused", async () => {
  const huge = qcow2();
  huge.writeBigUInt64BE(8n * 1024n ** 6n - 512n, 24);
  const far = qcow2();
  far.writeBigUInt64BE(1024n ** 3n, 40);
  far.writeUInt32BE(1, 36);
  const { own } = pool({ "cut.qcow2": qcow2().subarray(0, 100), "huge.qcow2": huge, "far.qcow2": far });
  await assert.rejects(own("cut.qcow2"), { code: "invalid_field", field: "volumeId", message: /cut off/ });
  await assert.rejects(own("far.qcow2"), { code: "invalid_field", field: "volumeId", message: /cut off/ });
  await assert.rejects(own("huge.qcow2"), {
    code: "invalid_field",
    field: "volumeId",
    message: /claims 9223372036854775296/,
  });
});

test("a file of that name without a disk in it is none; a raw disk of that name is one", async () => {
  const disk = Buffer.alloc(65_536);
  disk.set([0x55, 0xaa], 510);
  const { own, named } = pool({
    "text.qcow2": Buffer.from("<html>404 Not Found</html>".repeat(100)),
    "empty.qcow2": Buffer.alloc(0),
    "blank.qcow2": Buffer.alloc(65_536),
    "disk.qcow2": disk,
    "data.img": Buffer.from("anything"),
  });
  for (const check of [own, named]) {
    const refused = { code: "invalid_field", field: "volumeId" };
    await assert.rejects(check("text.qcow2"), { ...refused, message: /is no disk: it has no qcow2 header/ });
    await assert.rejects(check("empty.qcow2"), { ...refused, message: /is no disk: it is empty/ });
    for (const name of ["blank.qcow2", "disk.qcow2", "data.img"]) await check(name);
  }
});

/** The way out that the refusal names: what it makes is whole, and has what was left. */
async function savedAsTold(folder: string, cut: Buffer): Promise<void> {
  const { own } = pool({ "disk.qcow2": cut });
  await assert.rejects(own("disk.qcow2"), { remedy: /qemu-img convert -O qcow2 FILE NEW saves what is there/ });
  const [file, saved] = [path.join(folder, "cut.qcow2"), path.join(folder, "saved.qcow2")];
  writeFileSync(file, cut);
  execFileSync("qemu-img", ["convert", "-O", "qcow2", file, saved], { timeout: 60_000 });
  await pool({ "disk.qcow2": readFileSync(saved) }).own("disk.qcow2");
}

test("what qemu-img makes is taken whole, and refused when it is cut anywhere", async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-content-"));
  const raw = path.join(folder.path, "raw");
  const data = Buffer.alloc(48 * 2 ** 20);
  for (let at = 1 << 20; at < data.length; at += 3 << 20) randomBytes(1 << 20).copy(data, at);
  writeFileSync(raw, data);
  for (const words of [
    ["-o", "cluster_size=64k"],
    ["-o", "cluster_size=4k"],
    ["-o", "cluster_size=2M"],
    ["-o", "extended_l2=on,cluster_size=128k"],
    ["-o", "preallocation=metadata"],
    ["-c"],
  ]) {
    const file = path.join(folder.path, "disk.qcow2");
    execFileSync("qemu-img", ["convert", "-O", "qcow2", ...words, raw, file], { timeout: 60_000 });
    const whole = readFileSync(file);
    const { own } = pool({ "disk.qcow2": whole });
    await own("disk.qcow2");
    for (const part of [0.9, 0.5, 0.3, 0.1]) {
      const cut = pool({ "disk.qcow2": whole.subarray(0, Math.floor(whole.length * part)) });
      const refused = { code: "invalid_field", field: "volumeId", message: /is cut off/ };
      await assert.rejects(cut.own("disk.qcow2"), refused, `${words.join(" ")} at ${part}`);
    }
    await savedAsTold(folder.path, whole.subarray(0, Math.floor(whole.length * 0.9)));
  }
});
