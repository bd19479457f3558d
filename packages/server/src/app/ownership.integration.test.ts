/**
 * What a task undoes, on simulated hosts: only what it made itself. Others make the like in the same place, with the means
 * of virsh, at the worst moment; it stays as they made it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, describe, test } from "node:test";
import { type Connection, connect } from "@innkeeper/libvirt";
import { ControlPlane } from "./test-support/control-plane.ts";
import { type ListeningSimHost, listeningSimHost } from "./test-support/sim-host.ts";
import { StepTrap } from "./test-support/step-trap.ts";

const mib = 1 << 20;
const create = (name: string, change: object = {}) => ({
  request: { name, memory: { sizeMiB: 128 }, disks: [{ capacityBytes: 64 * mib, pool: "local" }], ...change },
});

describe("a task removes only what it made", { timeout: 120_000 }, () => {
  let sim: ListeningSimHost;
  let plane: ControlPlane;
  let virsh: Connection;
  const trap = new StepTrap();

  before(async () => {
    sim = await listeningSimHost();
    virsh = await connect(sim.uri);
    plane = await ControlPlane.open({ onStepBoundary: trap.onStepBoundary });
    await plane.succeed("host.add", { request: { uri: sim.uri, name: "h1" } });
  });
  afterEach(() => trap.clear());
  after(async () => {
    virsh?.close();
    await plane?.[Symbol.asyncDispose]();
    await sim?.[Symbol.asyncDispose]();
  });

  const define = async (name: string, uuid: string): Promise<void> => {
    const xml = `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><title>by hand</title>
      <memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os></domain>`;
    const { dom } = await virsh.remote.domainDefineXml({ xml });
    await virsh.remote.domainCreate({ dom });
  };
  const assertByHand = (name: string, uuid: string): void => {
    const there = sim.host.domains.byUuid(uuid);
    assert.deepEqual([there.name, there.isActive], [name, true]);
  };
  const remove = async (uuid: string): Promise<void> => {
    const { dom } = await virsh.remote.domainLookupByUuid({ uuid });
    await virsh.remote.domainDestroy({ dom });
    await virsh.remote.domainUndefine({ dom });
  };
  const files = (): string[] => [...sim.host.files.folder("/var/lib/libvirt/images").entries.keys()].toSorted();

  test("two new VMs of one UUID: the second is refused, the first runs on", async () => {
    const uuid = randomUUID();
    const submit = (name: string) =>
      plane.engine.submit("vm.create", create(name, { uuid, start: true }), { userName: "tester" });
    const tasks = await Promise.all([submit("first"), submit("second")]);
    const [first, second] = await Promise.all(tasks.map(({ id }) => plane.engine.wait(id, 30_000)));
    assert.equal(first?.state, "succeeded", first?.error?.detail ?? "");
    assert.deepEqual([second?.state, second?.error?.code], ["failed", "conflict"], second?.error?.detail ?? "");
    assert.equal(plane.vm("first").state, "running");
    await plane.succeed("vm.delete", { vmId: plane.vm("first").id, deleteDisks: true, force: true });
    assert.deepEqual(files(), []);
  });

  for (const [step, asked, name] of [
    ["plan", "a", "a"],
    ["plan", "b", "c"],
    ["define", "d", "d"],
    ["define", "e", "f"],
  ] as const) {
    test(`VM ${asked}, whose UUID virsh gives to a VM ${name} before ${step}: refused, that one runs on`, async () => {
      const uuid = randomUUID();
      trap.set(step, () => define(name, uuid));
      const task = await plane.run("vm.create", create(asked, { uuid }));
      assert.equal(task.state, "failed");
      assert.equal(task.unfinished, undefined, task.error?.detail ?? "");
      assert.notEqual(task.error?.code, "internal");
      assertByHand(name, uuid);
      assert.deepEqual(files(), []);
      await remove(uuid);
    });
  }
});
