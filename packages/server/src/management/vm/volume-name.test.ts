import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { diskVolumeName, memoryVolumeName, overlayVolumeName, safeStem } from "./volume-name.ts";

const id = "vm-3k9w0c7m2x5q";

test("a volume's name shows its VM and is unique by its id", () => {
  assert.equal(diskVolumeName({ name: "web 1", id }, "vda", "qcow2"), "web-1-3k9w0c7m2x5q-vda.qcow2");
  assert.equal(diskVolumeName({ name: "web", id }, "vdb", "raw"), "web-3k9w0c7m2x5q-vdb.img");
  assert.equal(overlayVolumeName({ name: "数据库", id }, "vda", "snap-1"), "vm-3k9w0c7m2x5q-vda-snap-1.qcow2");
  assert.equal(memoryVolumeName({ name: "../../etc", id }, "snap-1"), "etc-3k9w0c7m2x5q-snap-1.mem");
});

test("no name of a VM makes a file name that leads anywhere else", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (name) => {
      const stem = safeStem(name);
      assert.match(stem, /^[A-Za-z0-9_][A-Za-z0-9._-]{0,59}$/);
      assert(!overlayVolumeName({ name, id }, "vda", name).includes("/"));
    }),
  );
});
