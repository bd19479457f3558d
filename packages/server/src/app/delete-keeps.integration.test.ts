/** A VM that is deleted without its disks, on a simulated host: what could not stay with them is not lost in silence. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { managedSimHost } from "./test-support/managed-sim-host.ts";

const mib = 1 << 20;

test("a VM with saved memory is deleted only with its disks", { timeout: 60_000 }, async () => {
  await using managed = await managedSimHost({ timing: { startMs: 0, bootMs: 0, shutdownMs: 0 } });
  const { plane, virsh } = managed;
  const disks = [{ capacityBytes: 64 * mib, pool: "local" }];
  const request = { name: "saved", memory: { sizeMiB: 128 }, disks, start: true };
  const { vmId } = await plane.succeed<{ vmId: string }>("vm.create", { request });
  const { dom } = await virsh.remote.domainLookupByName({ name: "saved" });
  await virsh.remote.domainManagedSave({ dom, flags: 0 });
  await plane.succeed("host.refresh", { hostId: plane.host("h1").id });
  const task = await plane.run("vm.delete", { vmId });
  assert.deepEqual([task.state, task.error?.code, task.unfinished], ["failed", "conflict", undefined]);
  assert.match(task.error?.detail ?? "", /memory saved.*lost while its disks stay. Nothing was deleted/);
  assert.match(task.error?.remedy ?? "", /managedsave-remove saved.*with its disks/);
  await plane.succeed("vm.delete", { vmId, deleteDisks: true });
  assert.deepEqual([...managed.sim.host.domains.all], []);
});
