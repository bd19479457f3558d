/**
 * What a task undoes, on simulated hosts: only what it made itself. Others make the like in the same place, with the means
 * of virsh, at the worst moment; it stays as they made it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, describe, test } from "node:test";
import { type Connection, connect } from "@innkeeper/libvirt";
import { byCounts } from "@innkeeper/sim/fleet/declaration.ts";
import { Fleet } from "@innkeeper/sim/fleet/fleet.ts";
import { RealClock } from "@innkeeper/sim/host/clock.ts";
import { AppError } from "#core/app-error.ts";
import { ControlPlane } from "./test-support/control-plane.ts";
import { type ManagedSimHost, managedSimHost } from "./test-support/managed-sim-host.ts";
import type { ListeningSimHost } from "./test-support/sim-host.ts";
import { StepTrap } from "./test-support/step-trap.ts";

const mib = 1 << 20;
/** Hosts need addresses to migrate; all of 127.0.0.0/8 is this machine's. */
const firstAddress = `127.${100 + (process.pid % 100)}.${(process.pid >> 8) % 200}.41`;
const port = 26_511;
const create = (name: string, change: object = {}) => ({
  request: { name, memory: { sizeMiB: 128 }, disks: [{ capacityBytes: 64 * mib, pool: "local" }], ...change },
});

describe("a task removes only what it made", { timeout: 120_000 }, () => {
  let managed: ManagedSimHost;
  let sim: ListeningSimHost;
  let plane: ControlPlane;
  let virsh: Connection;
  let trap: StepTrap;

  before(async () => {
    managed = await managedSimHost();
    ({ sim, plane, virsh, trap } = managed);
  });
  afterEach(() => trap.clear());
  after(() => managed?.[Symbol.asyncDispose]());

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

describe("a migration removes only the copies that it made", { timeout: 120_000 }, () => {
  const clock = new RealClock();
  const timing = { startMs: 20, bootMs: 200, shutdownMs: 200 };
  const fleet = new Fleet(byCounts({ clusters: 1, hosts: 2, vms: 0, seed: 3, storage: "local" }), clock, timing);
  const [source, target] = fleet.hosts;
  assert.ok(source !== undefined && target !== undefined);
  let plane: ControlPlane;
  let virsh: Connection;
  const trap = new StepTrap();

  before(async () => {
    await fleet.listenTcp(firstAddress, port);
    virsh = await connect(target.uris[0] ?? "");
    plane = await ControlPlane.open({ onStepBoundary: trap.onStepBoundary });
    for (const { name, uris } of fleet.hosts)
      await plane.succeed("host.add", { request: { uri: uris[0] ?? "", name } });
  });
  afterEach(() => trap.clear());
  after(async () => {
    virsh?.close();
    await plane?.[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    clock[Symbol.dispose]();
  });

  const request = { host: target.name, copyDisks: true };
  const folder = "/var/lib/libvirt/images";
  const pathsOf = (name: string): string[] => plane.vm(name).spec.disks.map((disk) => disk.source ?? "");
  const there = (path: string): boolean => target.host.files.find(path) !== undefined;
  async function make(name: string, start: boolean): Promise<string> {
    const disks = [1, 2].map(() => ({ capacityBytes: 64 * mib, pool: "default" }));
    const request = { name, host: source?.name, memory: { sizeMiB: 128 }, disks, start };
    const { vmId } = await plane.succeed<{ vmId: string }>("vm.create", { request });
    return vmId;
  }
  /** As virsh vol-create and a guest that writes to it. */
  async function place(path: string, sizeMiB: number): Promise<void> {
    const { pool } = await virsh.remote.storagePoolLookupByName({ name: "default" });
    await virsh.remote.storagePoolRefresh({ pool, flags: 0 });
    const name = path.slice(folder.length + 1);
    const xml = `<volume><name>${name}</name><capacity>${sizeMiB * mib}</capacity><target><format type='qcow2'/></target></volume>`;
    await virsh.remote.storageVolCreateXml({ pool, xml, flags: 0 });
    target?.host.files.file(path).growGuestData(mib, Date.now());
  }

  for (const start of [true, false]) {
    const how = start ? "live" : "cold";

    test(`${how}: a disk's name is taken right before the volumes are made`, async () => {
      const vmId = await make(how, start);
      const [first = "", second = ""] = pathsOf(how);
      trap.set("volumes", () => place(second, 64));
      const task = await plane.run("vm.migrate", { vmId, request });
      assert.deepEqual([task.state, task.error?.code], ["failed", "name_taken"], task.error?.detail ?? "");
      assert.equal(task.unfinished, undefined);
      assert.deepEqual([there(first), there(second)], [false, true]);
      assert.equal(plane.vm(how).hostId, plane.host(source.name).id);
      target.host.files.remove(second);
      await plane.succeed("host.refresh", { hostId: plane.host(target.name).id });
      await plane.succeed("vm.migrate", { vmId, request });
      assert.equal(plane.vm(how).hostId, plane.host(target.name).id);
    });

    test(`${how}: a volume is replaced by hand, then the move fails`, async () => {
      const vmId = await make(`${how}2`, start);
      const [first = "", second = ""] = pathsOf(`${how}2`);
      trap.set("move", async () => {
        target.host.files.remove(second);
        await place(second, 128);
        throw new AppError("host_failed", "as the test wants it");
      });
      const task = await plane.run("vm.migrate", { vmId, request });
      assert.deepEqual([task.state, task.unfinished], ["failed", undefined], task.error?.detail ?? "");
      assert.deepEqual([there(first), there(second)], [false, true]);
    });
  }
});
