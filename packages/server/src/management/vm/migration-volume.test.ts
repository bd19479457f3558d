/** A migration's copies on a storage where what was made can't be told from what is used, through a crash. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { blockStorage } from "#management/test-support/block-storage.ts";
import { begunCopies, type DiskCopy, makeCopies, removeCopies } from "./migration-volume.ts";

function copy(target: string, capacityBytes: number): DiskCopy {
  return { target, volume: { poolName: "vg", name: `web-${target}`, format: "raw", capacityBytes } };
}

const copies = [copy("vda", 10_000_000), copy("vdb", 20_000_000)];

test("what was made before a crash is known, taken up by the next attempt, and removed when it is undone", async () => {
  const { devices, killed, deps, context } = blockStorage();
  killed.before = "web-vdb";
  await assert.rejects(makeCopies(deps, "host-1", copies, context), /killed/);
  delete killed.before;
  const { made, taken } = await makeCopies(deps, "host-1", copies, { ...context, repeated: true });
  assert.equal(taken, undefined);
  assert.deepEqual(
    made.map(({ volume }) => volume.capacityBytes),
    [12_582_912, 20_971_520],
  );
  assert.equal(devices.size, 2);
  await removeCopies(deps, "host-1", begunCopies(copies, context), context);
  assert.deepEqual([...devices.keys()], []);
});

test("a device that came while the migration was away is nobody's: it stays, and is named", async () => {
  const { devices, killed, deps, context } = blockStorage();
  killed.before = "web-vdb";
  await assert.rejects(makeCopies(deps, "host-1", copies, context), /killed/);
  devices.set("web-vdb", 20_971_520);
  const { made, taken } = await makeCopies(deps, "host-1", copies, { ...context, repeated: true });
  assert.deepEqual([made.length, taken], [1, "web-vdb"]);
  await removeCopies(deps, "host-1", begunCopies(copies, context), context);
  assert.deepEqual([...devices.keys()], ["web-vdb"]);
});
