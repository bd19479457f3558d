/** Merging layers needs a guest that has a process; afterwards a VM on a simulated host is on or off as it was left to be. */
import assert from "node:assert/strict";
import path from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import type { Connection } from "@innkeeper/libvirt";
import type { ControlPlane } from "./test-support/control-plane.ts";
import { type ManagedSimHost, managedSimHost } from "./test-support/managed-sim-host.ts";
import type { ListeningSimHost } from "./test-support/sim-host.ts";
import type { StepTrap } from "./test-support/step-trap.ts";

const mib = 1 << 20;

describe("the power of a VM whose layers are merged", { timeout: 120_000 }, () => {
  let managed: ManagedSimHost;
  let sim: ListeningSimHost;
  let plane: ControlPlane;
  let virsh: Connection;
  let trap: StepTrap;

  before(async () => {
    managed = await managedSimHost({ timing: { startMs: 0, bootMs: 0, shutdownMs: 0 } });
    ({ sim, plane, virsh, trap } = managed);
  });
  afterEach(() => trap.clear());
  after(() => managed?.[Symbol.asyncDispose]());

  async function make(name: string, start = true): Promise<string> {
    const disks = [{ capacityBytes: 64 * mib, pool: "local" }];
    const request = { name, memory: { sizeMiB: 128 }, disks, start };
    return (await plane.succeed<{ vmId: string }>("vm.create", { request })).vmId;
  }
  async function takeSnapshot(vmId: string): Promise<string> {
    const input = { vmId, request: { name: "s" } };
    return (await plane.succeed<{ snapshotId: string }>("snapshot.create", input)).snapshotId;
  }
  const stateOf = (name: string): string => {
    const { state } = plane.vm(name);
    assert.equal(sim.host.domains.byName(name).isActive, state !== "shutoff");
    return state;
  };
  const layersOf = (name: string): number => (plane.vm(name).spec.disks[0]?.backingChain?.length ?? 0) + 1;
  /** As by a guest that shuts itself down. */
  async function powerOff(name: string): Promise<void> {
    const { dom } = await virsh.remote.domainLookupByName({ name });
    await virsh.remote.domainDestroy({ dom });
  }
  async function suspend(name: string): Promise<void> {
    const { dom } = await virsh.remote.domainLookupByName({ name });
    await virsh.remote.domainSuspend({ dom });
  }

  for (const step of ["prepare", "merge"]) {
    test(`a snapshot of a running VM that goes off before ${step} is deleted: it is off`, async () => {
      const name = `off-${step}`;
      const snapshotId = await takeSnapshot(await make(name));
      trap.set(step, () => powerOff(name));
      await plane.succeed("snapshot.delete", { snapshotId });
      assert.deepEqual([stateOf(name), layersOf(name)], ["shutoff", 1]);
    });
  }

  test("a snapshot of a VM that someone started and paused meanwhile is deleted: it stays paused", async () => {
    const snapshotId = await takeSnapshot(await make("paused", false));
    trap.set("prepare", async () => {
      const { dom } = await virsh.remote.domainLookupByName({ name: "paused" });
      await virsh.remote.domainCreate({ dom });
      await suspend("paused");
    });
    await plane.succeed("snapshot.delete", { snapshotId });
    assert.deepEqual([stateOf("paused"), layersOf("paused")], ["paused", 1]);
  });

  test("a snapshot of a VM that is off is deleted: it is off", async () => {
    const snapshotId = await takeSnapshot(await make("off", false));
    await plane.succeed("snapshot.delete", { snapshotId });
    assert.deepEqual([stateOf("off"), layersOf("off")], ["shutoff", 1]);
  });

  test("a running VM that is cloned goes off before its layers are merged again: it is off", async () => {
    const vmId = await make("source");
    trap.set("thaw", () => powerOff("source"));
    await plane.succeed("vm.clone", { vmId, request: { name: "copy" } });
    assert.deepEqual([stateOf("source"), layersOf("source")], ["shutoff", 1]);
  });

  test("what a layer was merged into is read again: by a snapshot that is undone, and by a clone", async (context) => {
    const vmId = await make("read-again");
    const disk = path.basename(plane.vm("read-again").spec.disks[0]?.source ?? "");
    const read = context.mock.method(plane.deps.hostSync, "syncPool");
    const readNames = () => read.mock.calls.flatMap(({ arguments: [, , , changed] }) => [...(changed ?? [])]);
    trap.set("record", () => Promise.reject(new Error("no room")));
    assert.equal((await plane.run("snapshot.create", { vmId, request: { name: "s" } })).state, "failed");
    assert.ok(readNames().includes(disk), "after a snapshot that failed");
    read.mock.resetCalls();
    await plane.succeed("vm.clone", { vmId, request: { name: "read-copy" } });
    assert.ok(readNames().includes(disk), "after a clone");
  });
});
