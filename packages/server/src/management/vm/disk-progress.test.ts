/** Disks under names that were asked for, on a storage where what was made can't be told from what is used, through a crash. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { blockStorage } from "#management/test-support/block-storage.ts";
import { removeDisks } from "./disk-make.ts";
import type { DiskPlan } from "./disk-plan.ts";
import { keptDisks, makeDisks } from "./disk-progress.ts";

function plan(target: string, capacityBytes = 8 << 20): DiskPlan {
  const volume = { poolName: "vg", volumeName: `named-${target}`, capacityBytes } as const;
  const origin = { kind: "new", ...volume, sourceType: "block", format: "raw", named: true } as const;
  return { disk: { target, device: "disk", bus: "virtio" }, origin };
}

test("named disks that were made before a crash are taken up by the next attempt, and removed when it is undone", async () => {
  const { devices, killed, deps, context } = blockStorage();
  const plans = [plan("vda"), plan("vdb")];
  killed.before = "named-vdb";
  await assert.rejects(makeDisks(deps, context, "host-1", plans), /killed/);
  delete killed.before;
  const disks = await makeDisks(deps, { ...context, repeated: true }, "host-1", plans);
  assert.deepEqual(
    disks.map(({ source }) => source),
    ["/dev/vg/named-vda", "/dev/vg/named-vdb"],
  );
  await removeDisks(deps, "host-1", plans, keptDisks(context).length, context);
  assert.equal(devices.size, 0);
});

test("named disks that the storage made larger than was asked are ours as well", async () => {
  const { devices, deps, context } = blockStorage();
  const plans = [plan("vda", 10_000_000)];
  await makeDisks(deps, context, "host-1", plans);
  assert.equal(devices.get("named-vda"), 12 << 20);
  await removeDisks(deps, "host-1", plans, keptDisks(context).length, context);
  assert.equal(devices.size, 0);
});
