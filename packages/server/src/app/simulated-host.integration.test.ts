/** The control plane on a simulated host: VMs, images, clones, snapshots, content, networks, as on a real one. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { connect, VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_MEM_MAXIMUM } from "@innkeeper/libvirt";
import { SimFile } from "@innkeeper/sim/host/file/file.ts";
import { ControlPlane } from "./test-support/control-plane.ts";
import { type ListeningSimHost, listeningSimHost } from "./test-support/sim-host.ts";

const mib = 1 << 20;
const context = { userName: "tester", signal: AbortSignal.timeout(120_000) };
const streamOf = (bytes: Uint8Array): ReadableStream<Uint8Array> => ReadableStream.from([bytes]);

describe("the control plane on a simulated host", { timeout: 120_000 }, () => {
  let sim: ListeningSimHost;
  let plane: ControlPlane;
  const content = Buffer.alloc(8 * mib);
  content.set(randomBytes(mib), 3 * mib);
  // A boot sector, so that it is taken for a disk.
  content.set([0x55, 0xaa], 510);

  before(async () => {
    sim = await listeningSimHost();
    plane = await ControlPlane.open();
    await plane.succeed("host.add", { request: { uri: sim.uri, name: "h1" } });
  });
  after(async () => {
    await plane?.[Symbol.asyncDispose]();
    await sim?.[Symbol.asyncDispose]();
  });

  const make = async (name: string, change: object = {}): Promise<string> => {
    const request = {
      name,
      host: "h1",
      memory: { sizeMiB: 128 },
      disks: [{ capacityBytes: 64 * mib, pool: "local" }],
      nics: [{ network: "default" }],
      guestAgent: true,
      ...change,
    };
    return (await plane.succeed<{ vmId: string }>("vm.create", { request })).vmId;
  };
  const diskOf = (name: string): string => plane.vm(name).spec.disks[0]?.source ?? "";
  const files = (): string[] => [...sim.host.files.folder("/var/lib/libvirt/images").entries.keys()].toSorted();

  test("an image is uploaded, checked, and cloned into a VM's disk, full and linked", async () => {
    const image = { name: "raw image", pool: "local", host: "h1", sizeBytes: content.byteLength };
    const sha256 = createHash("sha256").update(content).digest("hex");
    await plane.wiring.image.upload({ ...image, sha256 }, streamOf(content), context);
    await make("full", { disks: [{ image: "raw image", pool: "local" }] });
    const full = sim.host.files.file(diskOf("full"));
    assert.equal(full.capacityBytes, content.byteLength);
    await make("linked", { disks: [{ image: "raw image", linked: true, pool: "local" }], start: true });
    assert.equal(plane.vm("linked").state, "running");
    assert.equal(plane.vm("linked").spec.disks[0]?.backingChain?.length, 1);
    for (const name of ["full", "linked"])
      await plane.succeed("vm.delete", { vmId: plane.vm(name).id, deleteDisks: true, force: true });
  });

  test("what others do to a guest is seen, whether its documents changed or not", async () => {
    const vmId = await make("meddled", { start: true });
    const connection = await connect(sim.uri);
    const { remote } = connection;
    const { dom } = await remote.domainLookupByName({ name: "meddled" });
    const seen = (what: string, isSo: () => boolean) => plane.until(what, () => isSo() || undefined);
    const { spec } = plane.vm("meddled");
    for (const _round of [1, 2]) {
      await remote.domainSuspend({ dom });
      await seen("paused", () => plane.vm("meddled").state === "paused");
      await remote.domainResume({ dom });
      await seen("running", () => plane.vm("meddled").state === "running");
    }
    assert.deepEqual(plane.vm("meddled").spec, spec);
    // Both ways, so that documents are met again that were known before. libvirt tells of it with the next event.
    for (const sizeMiB of [160, 128, 160]) {
      const flags = VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_MEM_MAXIMUM;
      await remote.domainSetMemoryFlags({ dom, memory: BigInt(sizeMiB) * 1024n, flags });
      await remote.domainSuspend({ dom });
      await seen("paused again", () => plane.vm("meddled").state === "paused");
      assert.equal(plane.vm("meddled").pendingChanges.length, sizeMiB === 128 ? 0 : 1);
      await remote.domainResume({ dom });
      await seen("running again", () => plane.vm("meddled").state === "running");
    }
    assert.equal(plane.vm("meddled").pendingChanges.length, 1);
    await connection.close();
    await plane.succeed("vm.delete", { vmId, deleteDisks: true, force: true });
  });

  test("volumes take content and give it back", async () => {
    const request = {
      name: "v.raw",
      poolId: plane.inventory.list("storage-pool")[0]?.id,
      capacityBytes: content.byteLength,
      format: "raw",
    };
    const { volumeId } = await plane.succeed<{ volumeId: string }>("volume.create", { request });
    await plane.wiring.volume.upload(volumeId, streamOf(content), content.byteLength, context);
    const { content: download } = await plane.wiring.volume.download(volumeId, context);
    assert.ok(Buffer.from(await new Response(download).arrayBuffer()).equals(content));
    await plane.succeed("volume.delete", { volumeId });
  });

  test("a VM that starts while its disk is downloaded breaks the download off; nothing of it stays claimed", async () => {
    const vmId = await make("torn", { disks: [{ capacityBytes: 32 * mib, format: "raw", pool: "local" }] });
    const source = diskOf("torn");
    const volumeId = plane.inventory.list("volume").find((each) => each.path === source)?.id ?? "";
    const whole = await plane.wiring.volume.download(volumeId, context);
    const overwritten = plane.wiring.volume.upload(volumeId, streamOf(content), content.byteLength, context);
    await assert.rejects(overwritten, /The download of volume .* has not ended yet/);
    assert.equal((await new Response(whole.content).arrayBuffer()).byteLength, whole.sizeBytes);
    const { content: cut } = await plane.wiring.volume.download(volumeId, context);
    const reader = cut.getReader();
    await reader.read();
    await plane.succeed("vm.start", { vmId });
    await plane.succeed("vm.force-off", { vmId });
    await assert.rejects(
      async () => {
        while (!(await reader.read()).done);
      },
      { code: "conflict" },
    );
    const { content: left } = await plane.wiring.volume.download(volumeId, context);
    await left.cancel();
    await plane.succeed("vm.delete", { vmId });
    await plane.succeed("volume.delete", { volumeId });
  });

  test("snapshots of a running VM: taken, gone back to with memory, merged under it", async () => {
    const vmId = await make("snap", { start: true });
    const take = async (name: string, more: object = {}): Promise<string> =>
      (await plane.succeed<{ snapshotId: string }>("snapshot.create", { vmId, request: { name, ...more } })).snapshotId;
    const base = diskOf("snap");
    const first = await take("with memory", { memory: true });
    await take("disks only");
    sim.host.files.file(diskOf("snap")).growGuestData(mib, sim.host.clock.nowMs());
    assert.equal(plane.vm("snap").spec.disks[0]?.backingChain?.length, 2);
    await plane.succeed("snapshot.revert", { snapshotId: first });
    assert.equal(plane.vm("snap").state, "running");
    assert.equal(plane.vm("snap").currentSnapshotId, first);
    await plane.succeed("snapshot.delete", { snapshotId: first, children: true });
    assert.deepEqual(plane.inventory.list("snapshot"), []);
    assert.equal(plane.vm("snap").spec.disks[0]?.backingChain?.length ?? 0, 0);
    assert.equal(diskOf("snap"), base);
    await plane.succeed("vm.delete", { vmId, deleteDisks: true, force: true });
  });

  test("clones, full and linked, of a VM with a snapshot; nothing is left when all are gone", async () => {
    const before = files();
    const vmId = await make("golden");
    await plane.succeed("snapshot.create", { vmId, request: { name: "s" } });
    await plane.succeed("vm.clone", { vmId, request: { name: "copy" } });
    await plane.succeed("vm.clone", { vmId, request: { name: "link", linked: true } });
    assert.ok(sim.host.files.find(diskOf("copy")) instanceof SimFile);
    for (const name of ["link", "copy", "golden"])
      await plane.succeed("vm.delete", { vmId: plane.vm(name).id, deleteDisks: true });
    assert.deepEqual(files(), before);
  });

  test("networks are made and taken away; guests tell their addresses", async () => {
    const request = {
      name: "lab",
      host: "h1",
      forwardMode: "nat",
      address: "10.9.0.1/24",
      dhcp: { start: "10.9.0.10", end: "10.9.0.20" },
    };
    const { networkId } = await plane.succeed<{ networkId: string }>("network.create", { request });
    const vmId = await make("guest", { nics: [{ network: "lab" }], start: true });
    const call = { signal: AbortSignal.timeout(30_000) };
    const { guest } = plane.deps.providers.get(plane.host("h1").id);
    const addresses = await guest.inventory.addresses(plane.vm("guest").uuid, { agentConnected: true }, call);
    assert.equal(addresses[0]?.address, "10.9.0.10");
    await plane.succeed("vm.delete", { vmId, deleteDisks: true, force: true });
    await plane.succeed("network.delete", { networkId });
  });
});
