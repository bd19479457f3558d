/** What qemu-img itself makes: whole files are taken, and every way to break them, or to lead out of them, is noticed. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempDisposableSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { contentExtent, inspectedBytes, inspectImage, requireWhole } from "./image-format.ts";

/** As an upload does it: the head is inspected, the rest is watched. */
function check(file: Buffer, sizeBytes = file.length): string {
  const head = file.subarray(0, inspectedBytes);
  const { format } = inspectImage(head, sizeBytes);
  const extent = contentExtent(head, sizeBytes);
  for (let at = 0; at < file.length; at += 100_003) extent?.push(file.subarray(at, at + 100_003));
  requireWhole(extent);
  return format;
}

function qemuImg(...words: string[]): string {
  return execFileSync("qemu-img", words, { encoding: "utf8", timeout: 60_000 });
}

suite("files of qemu-img", () => {
  let folder: Disposable & { readonly path: string };
  const at = (name: string): string => path.join(folder.path, name);
  const content = (name: string): Buffer => readFileSync(at(name));

  before(() => {
    folder = mkdtempDisposableSync(path.join(tmpdir(), "inn-qemu-image-"));
    const disk = Buffer.alloc(48 * 2 ** 20);
    // Data here and there, so that tables name places all over the file.
    for (let at = 1 << 20; at < disk.length; at += 3 << 20) randomBytes(1 << 20).copy(disk, at);
    disk.set([0x55, 0xaa], 510);
    writeFileSync(at("disk.raw"), disk);
  });
  after(() => folder[Symbol.dispose]());

  const kinds: readonly (readonly string[])[] = [
    [],
    ["-o", "compat=0.10"],
    ["-o", "cluster_size=4096"],
    ["-o", "cluster_size=512"],
    ["-o", "cluster_size=2M"],
    ["-o", "extended_l2=on"],
    ["-o", "compression_type=zstd", "-c"],
    ["-o", "lazy_refcounts=on,refcount_bits=1"],
    ["-c"],
    ["-o", "preallocation=metadata"],
  ];
  for (const options of kinds) {
    test(`qcow2 ${options.join(" ")}: whole it is taken, cut off it is not`, () => {
      qemuImg("convert", "-O", "qcow2", ...options, at("disk.raw"), at("whole.qcow2"));
      const whole = content("whole.qcow2");
      assert.equal(check(whole), "qcow2");
      for (const share of [0.02, 0.3, 0.6, 0.9]) {
        const cut = whole.subarray(0, Math.floor((whole.length * share) / 512) * 512);
        assert.throws(() => check(cut), { code: "invalid_field", message: /cut off/ }, `${share}`);
      }
    });
  }

  test("snapshots inside are no harm; a table of them beyond the end is", () => {
    qemuImg("convert", "-O", "qcow2", at("disk.raw"), at("snapshot.qcow2"));
    qemuImg("snapshot", "-c", "one", at("snapshot.qcow2"));
    const file = content("snapshot.qcow2");
    assert.equal(check(file), "qcow2");
    file.writeBigUInt64BE(1n << 40n, 64);
    assert.throws(() => check(file), /cut off/);
  });

  test("what needs another file is refused, whatever makes it need one", () => {
    qemuImg("create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", at("backing.qcow2"), "1G");
    assert.throws(() => check(content("backing.qcow2")), /its backing file/);
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      `data_file=${at("data.raw")},data_file_raw=on`,
      at("data.qcow2"),
      "16M",
    );
    const data = content("data.qcow2");
    assert.throws(() => check(data), /its data file/);
    // Its header extension alone names the file, too.
    data.writeBigUInt64BE(0n, 72);
    assert.throws(() => check(data), /its data file/);
  });

  test("a damaged or boasting header is refused", () => {
    qemuImg("convert", "-O", "qcow2", at("disk.raw"), at("base.qcow2"));
    const rows: [(file: Buffer) => void, RegExp][] = [
      [(file) => file.writeBigUInt64BE(1n << 63n, 24), /claims 9223372036854775808 bytes/],
      [(file) => file.writeBigUInt64BE(1n << 40n, 24), /first table is too small/],
      [(file) => file.writeUInt32BE(0xffff_ffff, 36), /can't be read/],
      [(file) => file.writeBigUInt64BE(0x30001n, 40), /can't be read/],
      [(file) => file.writeUInt32BE(0xffff_ffff, 56), /can't be read/],
      [(file) => file.writeUInt32BE(1_000_000, 60), /snapshots/],
      [(file) => file.writeBigUInt64BE(2n, 72), /marked as corrupt/],
      [(file) => file.writeBigUInt64BE(1n << 20n, 72), /features that QEMU does not have/],
      [(file) => file.writeBigUInt64BE((1n << 63n) | (1n << 45n), Number(file.readBigUInt64BE(40))), /cut off/],
    ];
    for (const [change, message] of rows) {
      const file = content("base.qcow2");
      change(file);
      assert.throws(() => check(file), { message }, String(message));
    }
  });

  test("other formats are told by name, and what to do", () => {
    for (const [format, name] of [
      ["vmdk", /VMDK/],
      ["vdi", /VDI/],
      ["vhdx", /VHDX/],
      ["vpc", /VHD/],
      ["qed", /QED/],
      ["parallels", /Parallels/],
    ] as const) {
      qemuImg("convert", "-O", format, at("disk.raw"), at("other"));
      assert.throws(() => check(content("other")), { code: "unsupported", message: name }, format);
    }
    qemuImg("convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", at("disk.raw"), at("flat.vmdk"));
    assert.throws(() => check(content("flat.vmdk")), { code: "unsupported", message: /VMDK descriptor/ });
  });

  test("raw disks say where they end, too: a partition table, a GPT, an ISO", () => {
    const raw = content("disk.raw");
    assert.equal(check(raw), "raw");
    raw.writeUInt8(0x83, 450);
    raw.writeUInt32LE(2048, 454);
    raw.writeUInt32LE(raw.length / 512 - 2048, 458);
    assert.equal(check(raw), "raw");
    assert.throws(() => check(raw.subarray(0, raw.length / 2)), /cut off/);
    const gpt = Buffer.alloc(1 << 20);
    gpt.write("EFI PART", 512);
    gpt.writeBigUInt64LE(2047n, 544);
    assert.equal(check(gpt), "raw");
    assert.throws(() => check(gpt.subarray(0, 1 << 19)), /cut off/);
    const iso = Buffer.alloc(1 << 20);
    iso.write("CD001", 32_769);
    iso.writeUInt32LE(512, 32_848);
    assert.equal(check(iso), "iso");
    assert.throws(() => check(iso.subarray(0, 1 << 19)), /cut off/);
  });
});
