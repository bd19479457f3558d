/** CPU weight and limit of a running guest where the host has CPU cgroups: set, taken away, and put back when a change fails. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { GuestHypervisor } from "#virtualization/port.ts";
import { cgroupSkip, withCpuCgroup } from "./test-support/cgroup-host.ts";
import { emptyDisk, labHypervisor, type LabHypervisor, testDefinition } from "./test-support/lab-hypervisor.ts";

const call = { signal: AbortSignal.timeout(600_000) };
/** More than a qcow2 file can hold (QEMU 7.2 QCOW_MAX_L1_SIZE): growing to it is refused by QEMU, after all other steps. */
const tooLargeBytes = 2 ** 52;

suite("CPU weight and limit of a running guest", { skip: cgroupSkip() }, () => {
  let lab: Lab;
  let cgroup: AsyncDisposable;
  let h1: LabHypervisor;
  let guest: GuestHypervisor;
  const definition = testDefinition("weight", { memory: { sizeMiB: 32 } });
  const { uuid } = definition;

  before(async () => {
    const name = `inn-cgroup-${process.pid}`;
    lab = await Lab.up({ name: `cgroup-${process.pid}`, hostCount: 1, signal: call.signal });
    cgroup = await withCpuCgroup(lab.host("h1"), name);
    h1 = await labHypervisor(lab, 0);
    guest = h1.guest;
    const disks = [await emptyDisk(lab, "weight", "vda")];
    await guest.lifecycle.define({ ...definition, spec: { ...definition.spec, disks } }, call);
    await guest.lifecycle.start(uuid, {}, call);
  });
  after(async () => {
    await h1?.[Symbol.asyncDispose]();
    await lab?.down();
    await cgroup?.[Symbol.asyncDispose]();
  });

  /** As virsh tells it: of the cgroup itself. */
  async function scheduler(name: string): Promise<number> {
    const { stdout } = await h1.host.exec(["virsh", "schedinfo", "weight"], call);
    return Number(new RegExp(`^${name}\\s*: (-?\\d+)$`, "m").exec(stdout)?.[1]);
  }

  test("both are set while it runs", async () => {
    assert.equal(await scheduler("cpu_shares"), 1024);
    const set = await guest.lifecycle.change(uuid, { cpu: { shares: 2048, limitPct: 150 } }, call);
    assert.deepEqual(set, { applied: ["cpu.limitPct", "cpu.shares"], pending: [] });
    assert.deepEqual([await scheduler("cpu_shares"), await scheduler("global_quota")], [2048, 150_000]);
    const { cpu } = (await guest.inventory.read(uuid, call)).spec;
    assert.deepEqual([cpu.shares, cpu.limitPct], [2048, 150]);
  });

  test("the limit is taken away at once, the weight with the next start", async () => {
    const taken = await guest.lifecycle.change(uuid, { cpu: { shares: null, limitPct: 0 } }, call);
    assert.deepEqual(taken, { applied: ["cpu.limitPct"], pending: ["cpu.shares"] });
    assert.equal(await scheduler("cpu_shares"), 2048);
    await guest.lifecycle.forceOff(uuid, call);
    await guest.lifecycle.start(uuid, {}, call);
    assert.equal(await scheduler("cpu_shares"), 1024);
    assert.deepEqual((await guest.inventory.read(uuid, call)).pendingChanges, []);
  });

  test("a change that fails puts back what the host's cgroup said", async () => {
    const failing = {
      cpu: { shares: 3000, limitPct: 50 },
      disksChange: [{ target: "vda", capacityBytes: tooLargeBytes }],
    };
    await assert.rejects(guest.lifecycle.change(uuid, failing, call));
    assert.equal(await scheduler("cpu_shares"), 1024);
    assert((await scheduler("global_quota")) <= 0 || (await scheduler("global_quota")) > 1e12);
    const { cpu } = (await guest.inventory.read(uuid, call)).spec;
    assert.equal(cpu.limitPct, undefined);
    await guest.lifecycle.change(uuid, { cpu: { shares: 512 } }, call);
    await assert.rejects(guest.lifecycle.change(uuid, failing, call));
    assert.equal(await scheduler("cpu_shares"), 512);
  });

  test("pins of QEMU's own threads are taken away", async () => {
    await guest.lifecycle.change(uuid, { cpu: { emulatorPinning: "0" } }, call);
    assert.equal((await guest.inventory.read(uuid, call)).spec.cpu.emulatorPinning, "0");
    const { applied } = await guest.lifecycle.change(uuid, { cpu: { emulatorPinning: null } }, call);
    assert.deepEqual(applied, ["cpu.emulatorPinning"]);
    assert.equal((await guest.inventory.read(uuid, call)).spec.cpu.emulatorPinning, undefined);
  });
});
