// Images as QEMU's own tool sees them: what is rendered here is an image to it, and what it makes is read here.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { FileSystem } from "./file-system.ts";
import { SimFile } from "./file.ts";
import { newImage, PROBE_BYTES, probeImage } from "./image.ts";
import { emptyLength, newQcow2 } from "./qcow2.ts";

const folder = mkdtempSync(path.join(tmpdir(), "innkeeper-sim-image-"));
after(() => rmSync(folder, { recursive: true }));
const owner = { mode: 0o600, uid: 0, gid: 0 };
const qemuImg = (...args: string[]): string => execFileSync("qemu-img", args, { encoding: "utf8", cwd: folder });

test("an image that is rendered here is one to qemu-img, of the same size as its own", () => {
  qemuImg("create", "-q", "-f", "qcow2", "below.qcow2", "3G");
  const space = new FileSystem({ capacityBytes: 1e12 });
  const image = newImage("qcow2", 3 * 2 ** 30, { path: "below.qcow2", format: "qcow2" });
  const file = SimFile.image(space, owner, 0, image);
  writeFileSync(path.join(folder, "ours.qcow2"), file.read(0, file.lengthBytes));
  assert.match(qemuImg("check", "ours.qcow2"), /No errors were found/u);
  const info: unknown = JSON.parse(qemuImg("info", "--output=json", "ours.qcow2"));
  assert.partialDeepStrictEqual(info, {
    "virtual-size": 3 * 2 ** 30,
    format: "qcow2",
    "backing-filename": "below.qcow2",
    "backing-filename-format": "qcow2",
  });
  for (const capacity of ["1M", "1G", "700G", "5T"]) {
    qemuImg("create", "-q", "-f", "qcow2", "theirs.qcow2", capacity);
    const { length } = readFileSync(path.join(folder, "theirs.qcow2"));
    const { capacityBytes = 0 } = probeImage(readFileSync(path.join(folder, "theirs.qcow2")));
    assert.equal(emptyLength(newQcow2(capacityBytes)), length, capacity);
  }
});

test("what qemu-img makes is known for what it is", () => {
  for (const format of ["qcow2", "vmdk", "vdi", "qed", "qcow"]) {
    qemuImg("create", "-q", "-f", format, `x.${format}`, "64M");
    const image = probeImage(readFileSync(path.join(folder, `x.${format}`)).subarray(0, PROBE_BYTES));
    assert.deepEqual([image.format, image.capacityBytes], [format, 64 * 2 ** 20]);
  }
  qemuImg("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-b", "x.qcow2", "-F", "qcow2", "old.qcow2");
  const old = probeImage(readFileSync(path.join(folder, "old.qcow2")));
  assert.deepEqual([old.qcow2?.compat, old.backing?.path], ["0.10", "x.qcow2"]);
  assert.equal(probeImage(Buffer.alloc(100)).format, "raw");
});

test("a copy shares what it holds, and each takes room", () => {
  const space = new FileSystem({ capacityBytes: 1_000_000 });
  const file = SimFile.raw(space, owner, 0);
  file.write(0, Buffer.alloc(300_000, 1), 0);
  const copy = file.copy(space, owner, 0);
  assert.equal(space.availableBytes, 1_000_000 - 2 * file.allocatedBytes);
  assert.throws(() => file.copy(space, owner, 0).copy(space, owner, 0), { errno: 28 });
  copy.write(0, Buffer.from([9]), 0);
  assert.deepEqual([file.read(0, 1)[0], copy.read(0, 1)[0]], [1, 9]);
});
