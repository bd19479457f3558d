/** Host sync against real hosts: what happens on them behind our back is seen by its event, and truly. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Lab } from "@innkeeper/lab/lab.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { ControlPlane, labAccess, type LabAccess } from "#app/test-support/control-plane.ts";

/** Shorter than the shortest time between two readings of a host (host-watch.ts): what is seen within it was told by an event. */
const eventOnlyMs = 20_000;

/** A guest without a disk: the BIOS finds nothing to boot and waits. */
function domainXml(name: string, uuid: string, metadata = ""): string {
  return `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><title>by hand</title>
    ${metadata === "" ? "" : `<metadata>${metadata}</metadata>`}
    <memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
    <devices><memballoon model='none'/></devices></domain>`;
}

describe("host sync", () => {
  let lab: Lab;
  let access: LabAccess;
  let plane: ControlPlane;
  let h1: LabHost;
  let h2: LabHost;
  let host1: Host;
  let host2: Host;

  before(async () => {
    await Lab.down("host-sync");
    lab = await Lab.up({ name: "host-sync", hostCount: 2 });
    access = await labAccess(lab);
    [h1, h2] = [lab.host("h1"), lab.host("h2")];
    plane = await ControlPlane.open();
    await virsh(h1, "define", domainXml("old", "11111111-1111-4111-8111-111111111111"));
    host1 = await plane.addHost(h1.uri, access.tls);
    host2 = await plane.addHost(h2.uri, access.tls);
  });

  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await lab?.down();
  });

  const vmNamed = (name: string) => plane.inventory.by("vm", "name", name)[0];

  test("a host that is added has its hardware, pools, networks and VMs", () => {
    const host = plane.inventory.require("host", host1.id);
    assert.equal(host.name, "h1");
    assert.equal(host.connectionState, "connected");
    assert.equal(host.hardware?.uuid, h1.uuid);
    assert.deepEqual(host.hardware?.kvm, {
      advertised: false,
      usable: false,
      detail: "libvirt does not offer KVM on this host",
    });
    assert.ok((host.usage?.memoryFreeMiB ?? 0) > 0);
    const pools = plane.inventory.byHost("storage-pool", host.id).map((pool) => pool.name);
    assert.deepEqual(pools.toSorted(), ["local", "shared"]);
    assert.ok(plane.inventory.byHost("network", host.id).some((network) => network.name === "default"));
    const vm = vmNamed("old");
    assert.equal(vm?.managed, false);
    assert.equal(vm?.state, "shutoff");
    assert.equal(plane.events("vm.adopted").length, 1);
  });

  test("define, start, destroy and undefine with virsh are seen by their events", async (t) => {
    const uuid = "22222222-2222-4222-8222-222222222222";
    const steps: [string, () => Promise<unknown>, () => unknown][] = [
      ["define", () => virsh(h1, "define", domainXml("hand", uuid)), () => vmNamed("hand")],
      ["start", () => h1.exec(["virsh", "start", "hand"]), () => vmNamed("hand")?.state === "running" || undefined],
      ["suspend", () => h1.exec(["virsh", "suspend", "hand"]), () => vmNamed("hand")?.state === "paused" || undefined],
      ["resume", () => h1.exec(["virsh", "resume", "hand"]), () => vmNamed("hand")?.state === "running" || undefined],
      ["destroy", () => h1.exec(["virsh", "destroy", "hand"]), () => vmNamed("hand")?.state === "shutoff" || undefined],
      [
        "undefine",
        () => h1.exec(["virsh", "undefine", "hand"]),
        () => (vmNamed("hand") === undefined ? true : undefined),
      ],
    ];
    for (const [what, act, look] of steps) {
      await act();
      const { tookMs } = await plane.until(what, look, eventOnlyMs);
      t.diagnostic(`${what}: seen ${Math.round(tookMs)} ms after virsh ended`);
    }
    const started = plane.events("vm.started").find((event) => event.message.includes("hand"));
    assert.match(started?.message ?? "", /VM hand started \(booted\) on host h1/);
    assert.ok(plane.events("vm.removed").some((event) => event.message.includes("hand")));
  });

  test("adoption touches nothing", async () => {
    const { stdout } = await h1.exec(["virsh", "dumpxml", "--inactive", "old"]);
    assert.doesNotMatch(stdout, /innkeeper/);
  });

  test("pools, volumes and networks made by hand are seen", async () => {
    await h1.exec(["virsh", "pool-define-as", "byhand", "dir", "--target", "/var/lib/libvirt/byhand"]);
    await h1.exec(["virsh", "pool-build", "byhand"]);
    await h1.exec(["virsh", "pool-start", "byhand"]);
    const running = await plane.until("pool", () => {
      const pool = plane.inventory.by("storage-pool", "name", "byhand")[0];
      return pool?.state === "running" ? pool : undefined;
    });
    await h1.exec(["virsh", "vol-create-as", "byhand", "v.qcow2", "10M", "--format", "qcow2"]);
    const volumeOf = () => plane.inventory.by("volume", "poolId", running.found.id)[0];
    const volume = await plane.until("volume", volumeOf, eventOnlyMs);
    assert.equal(volume.found.format, "qcow2");
    const { id } = volume.found;
    await h1.exec(["virsh", "pool-refresh", "byhand"]);
    assert.equal(volumeOf()?.id, id, "ids are stable");
    await h1.exec(["virsh", "pool-destroy", "byhand"]);
    await h1.exec(["virsh", "pool-undefine", "byhand"]);
    await plane.until("gone", () =>
      plane.inventory.by("storage-pool", "name", "byhand").length === 0 ? true : undefined,
    );
    assert.equal(plane.inventory.get("volume", id), undefined);
    await h1.exec(["virsh", "net-destroy", "default"]);
    const defaultNetwork = () => plane.inventory.byHost("network", host1.id).find((each) => each.name === "default");
    await plane.until("network stopped", () => defaultNetwork()?.active === false || undefined);
    await h1.exec(["virsh", "net-start", "default"]);
    await plane.until("network started", () => defaultNetwork()?.active === true || undefined);
  });

  test("a copied domain, metadata and all, is a VM of its own; a moved one keeps its id", async () => {
    const { vmId } = await plane.succeed<{ vmId: string }>("vm.create", {
      request: { name: "ours", host: "h1", memory: { sizeMiB: 32 }, tags: ["keep"], nics: [] },
    });
    const ours = plane.inventory.require("vm", vmId);
    assert.equal(ours.managed, true);
    const { stdout: xml } = await h1.exec(["virsh", "dumpxml", "--inactive", "ours"]);
    const copyUuid = "33333333-3333-4333-8333-333333333333";
    await virsh(h1, "define", xml.replace("<name>ours<", "<name>copy<").replace(ours.uuid, copyUuid));
    const copy = await plane.until("copy", () => vmNamed("copy"));
    assert.notEqual(copy.found.id, ours.id);
    assert.equal(copy.found.managed, false);
    // Defined on the other host, then undefined here: the id follows.
    await virsh(h2, "define", xml);
    await h1.exec(["virsh", "undefine", "ours", "--nvram"]);
    const moved = await plane.until("moved", () =>
      vmNamed("ours")?.hostId === host2.id ? vmNamed("ours") : undefined,
    );
    assert.equal(moved.found.id, vmId);
    assert.deepEqual(moved.found.tags, ["keep"]);
    assert.equal(plane.inventory.list("vm").filter((vm) => vm.uuid === ours.uuid).length, 1);
    assert.equal(plane.events("vm.moved").length, 1);
  });

  test("removing and adding a host again gives its VMs their ids back", async () => {
    const before = vmNamed("ours");
    await plane.succeed("vm.create", {
      request: {
        name: "frozen",
        host: "h2",
        memory: { sizeMiB: 32 },
        disks: [{ pool: "local", capacityBytes: 1 << 20 }],
      },
    });
    const frozen = vmNamed("frozen") ?? assert.fail();
    await plane.succeed("snapshot.create", { vmId: frozen.id, request: { name: "first" } });
    await plane.succeed("snapshot.create", { vmId: frozen.id, request: { name: "second" } });
    const tree = () =>
      plane.inventory
        .by("snapshot", "vmId", frozen.id)
        .map((snapshot) => ({ ...snapshot, revision: 0 }))
        .toSorted((a, b) => a.name.localeCompare(b.name));
    const treeBefore = tree();
    assert.equal(treeBefore.length, 2);
    await plane.succeed("host.remove", { hostId: host2.id });
    assert.equal(vmNamed("ours"), undefined);
    assert.deepEqual(tree(), []);
    assert.equal(plane.inventory.byHost("storage-pool", host2.id).length, 0);
    const { stdout } = await h2.exec(["virsh", "list", "--all", "--name"]);
    assert.match(stdout, /ours/);
    host2 = await plane.addHost(h2.uri, access.tls);
    assert.equal(vmNamed("ours")?.id, before?.id);
    assert.deepEqual(vmNamed("ours")?.tags, ["keep"]);
    assert.equal(vmNamed("frozen")?.id, frozen.id);
    assert.deepEqual(tree(), treeBefore);
    await plane.succeed("snapshot.revert", { snapshotId: treeBefore[0]?.id });
  });

  test("a crashed host's VMs are unknown until it is back; nothing else about them changes", async (t) => {
    const before = vmNamed("ours");
    await h2.crash();
    const lost = await plane.until("unknown", () => vmNamed("ours")?.state === "unknown" || undefined, 40_000);
    t.diagnostic(`crash noticed after ${Math.round(lost.tookMs)} ms`);
    assert.notEqual(plane.inventory.require("host", host2.id).connectionState, "connected");
    assert.ok(plane.events("host.disconnected").length > 0);
    assert.deepEqual(
      { ...vmNamed("ours"), state: "", stateDetail: "", revision: 0 },
      { ...before, state: "", stateDetail: "", revision: 0 },
    );
    await assert.rejects(async () => plane.succeed("vm.start", { vmId: before?.id }), /can't be started|not connected/);
    await h2.start();
    const back = await plane.until("back", () => (vmNamed("ours")?.state === "shutoff" ? true : undefined), 60_000);
    t.diagnostic(`seen ${Math.round(back.tookMs)} ms after its return`);
    assert.equal(plane.inventory.require("host", host2.id).connectionState, "connected");
  });

  test("a restarted daemon is connected again and its running VMs stay", async () => {
    await h1.exec(["virsh", "start", "old"]);
    await plane.until("running", () => vmNamed("old")?.state === "running" || undefined);
    const connectedAt = plane.inventory.require("host", host1.id).connectedAt;
    await h1.killLibvirtd();
    await h1.startLibvirtd();
    await plane.until(
      "again",
      () => {
        const host = plane.inventory.get("host", host1.id);
        return host?.connectionState === "connected" && host.connectedAt !== connectedAt ? true : undefined;
      },
      40_000,
    );
    await plane.until("running", () => vmNamed("old")?.state === "running" || undefined);
    await h1.exec(["virsh", "destroy", "old"]);
    await plane.until("events flow again", () => vmNamed("old")?.state === "shutoff" || undefined);
  });
});

async function virsh(host: LabHost, verb: string, xml: string): Promise<void> {
  await host.exec(["sh", "-c", `cat > /run/test.xml && virsh -q ${verb} /run/test.xml`], { input: xml });
}
