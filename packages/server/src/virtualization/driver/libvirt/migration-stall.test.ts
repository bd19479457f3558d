/** Of what QEMU could break, only the connections of the migration's own copies are chosen. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { copiesIn } from "./migration-stall.ts";

test("the copies of a migration are broken, and nothing else", () => {
  // As QEMU 7.2 answers query-yank, with a disk over NBD of the guest's own besides.
  const answer = {
    return: [
      { type: "migration" },
      { type: "block-node", "node-name": "libvirt-1-storage" },
      { type: "block-node", "node-name": "migration-vdb-storage" },
      { type: "chardev", id: "charserial0" },
    ],
    id: "libvirt-42",
  };
  assert.deepEqual(copiesIn(answer), [{ type: "block-node", "node-name": "migration-vdb-storage" }]);
  assert.deepEqual(copiesIn({ error: { class: "CommandNotFound" } }), []);
  assert.deepEqual(copiesIn(undefined), []);
});
