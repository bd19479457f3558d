/** For each operation on VMs a situation in which it has all its steps to do. The crash matrix refuses an operation without one. */
import { execFile } from "node:child_process";
import { copyFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { guestImage } from "@innkeeper/lab/guest-image.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import { newId } from "@innkeeper/contract/id.ts";
import { timestamp } from "#core/clock.ts";
import type { ControlPlane } from "./control-plane.ts";

export interface Scenario {
  readonly operation: string;
  readonly title: string;
  /** A step that takes long, and how far into it the control plane is killed besides. */
  readonly during?: { readonly step: string; readonly delayMs: number };
  /** Makes the situation and returns the operation's input. */
  prepare(plane: ControlPlane): Promise<unknown>;
}

export const imageName = "guest";

/** The lab's guest as an image on shared storage. */
export async function addImage(lab: Lab, plane: ControlPlane): Promise<void> {
  if (plane.inventory.list("image").length > 0) return;
  const { path: file } = await guestImage();
  await copyFile(file, path.join(lab.sharedFolder, "guest.qcow2"));
  const host = plane.host("h1");
  await plane.deps.hostSync.syncPool(host.id, "shared", { signal: AbortSignal.timeout(60_000) });
  const volume = plane.inventory.byHost("volume", host.id).find((each) => each.name === "guest.qcow2");
  if (volume === undefined) throw new Error("the image is not in the pool");
  const { path: imagePath, format, capacityBytes, name: volumeName } = volume;
  const place = { hostId: host.id, poolName: "shared", volumeName, path: imagePath, format, capacityBytes };
  const createdAt = timestamp(plane.deps.clock);
  await plane.store.transaction((transaction) =>
    transaction.put("image", { id: newId("image"), name: imageName, description: "", ...place, createdAt }),
  );
}

/** A VM on h1 whose disk is linked to the image. */
export async function makeVm(plane: ControlPlane, name: string, change: object = {}): Promise<string> {
  const request = {
    name,
    host: "h1",
    memory: { sizeMiB: 96 },
    disks: [{ image: imageName, linked: true, pool: "shared" }],
    nics: [{ network: "default" }],
    ...change,
  };
  return (await plane.succeed<{ vmId: string }>("vm.create", { request })).vmId;
}

async function snapshot(plane: ControlPlane, vmId: string, name: string, memory = false): Promise<string> {
  const input = { vmId, request: { name, memory } };
  return (await plane.succeed<{ snapshotId: string }>("snapshot.create", input)).snapshotId;
}

const power = (
  operation: string,
  first: (plane: ControlPlane, vmId: string) => Promise<unknown>,
  start = true,
): Scenario => ({
  operation,
  title: operation,
  async prepare(plane) {
    const vmId = await makeVm(plane, "subject", { start });
    await first(plane, vmId);
    return { vmId };
  },
});
/** Its agent answers: from now on it hears the power button. */
async function booted(plane: ControlPlane, vmId: string): Promise<void> {
  const signal = AbortSignal.timeout(120_000);
  for await (const _change of plane.inventory.changes(0, signal)) {
    if (plane.inventory.get("vm", vmId)?.guestAgentConnected === true) return;
  }
  throw new Error("the guest did not boot");
}
/** A VM with one disk, in a client's own words. */
function installedDocument(bootDevice: string): string {
  const disk = '<disk device="disk"><target dev="vda" bus="virtio"/></disk>';
  return `<domain><os><type machine="q35">hvm</type><boot dev="${bootDevice}"/></os><devices>${disk}</devices></domain>`;
}
const nothing = async (): Promise<void> => {};

export const scenarios: readonly Scenario[] = [
  {
    operation: "vm.create",
    title: "vm.create, linked and new disk, started",
    prepare: async () => ({
      request: {
        name: "subject",
        memory: { sizeMiB: 96 },
        disks: [
          { image: imageName, linked: true, pool: "shared" },
          { capacityBytes: 1 << 26, pool: "local" },
        ],
        nics: [{ network: "default" }],
        start: true,
      },
    }),
  },
  {
    operation: "vm.create",
    title: "vm.create from a document, with another for the first start, and a disk with a name of its own",
    prepare: async () => ({
      request: {
        name: "subject",
        memory: { sizeMiB: 96 },
        disks: [{ target: "vda", bus: "virtio", capacityBytes: 1 << 26, pool: "local", volumeName: "own.qcow2" }],
        domainXml: installedDocument("hd"),
        installXml: installedDocument("network"),
        start: true,
      },
    }),
  },
  {
    operation: "vm.change",
    title: "vm.change of a running VM: disk and card added",
    async prepare(plane) {
      const disks = [
        { image: imageName, linked: true, pool: "shared" },
        { capacityBytes: 1 << 24, pool: "shared" },
      ];
      const vmId = await makeVm(plane, "subject", { disks, start: true });
      return {
        vmId,
        request: {
          description: "changed",
          memory: { balloonMiB: 80 },
          disksAdd: [{ capacityBytes: 1 << 25, pool: "shared" }],
          disksChange: [{ target: "vda", ioLimit: { totalIops: 500 } }],
          nicsAdd: [{ network: "default" }],
          autostart: true,
        },
      };
    },
  },
  {
    operation: "vm.change",
    title: "vm.change of a stopped VM: disk removed with its volume, disk grown",
    async prepare(plane) {
      const disks = [
        { capacityBytes: 1 << 25, pool: "shared" },
        { capacityBytes: 1 << 24, pool: "shared" },
      ];
      const vmId = await makeVm(plane, "subject", { disks });
      const disksRemove = [{ target: "vdb", deleteVolume: true }];
      return {
        vmId,
        request: { disksRemove, disksChange: [{ target: "vda", capacityBytes: 1 << 26 }], cpu: { count: 2 } },
      };
    },
  },
  {
    operation: "vm.rename",
    title: "vm.rename",
    prepare: async (plane) => ({ vmId: await makeVm(plane, "subject"), request: { name: "renamed" } }),
  },
  {
    operation: "vm.delete",
    title: "vm.delete of a running VM with its disks and snapshots",
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { start: true });
      await snapshot(plane, vmId, "s1", true);
      return { vmId, deleteDisks: true, force: true };
    },
  },
  power("vm.start", nothing, false),
  power("vm.shutdown", booted),
  power("vm.force-off", nothing),
  power("vm.reboot", nothing),
  power("vm.reset", nothing),
  power("vm.suspend", nothing),
  power("vm.resume", (plane, vmId) => plane.succeed("vm.suspend", { vmId })),
  {
    operation: "vm.clone",
    title: "vm.clone, linked, of a running VM",
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { start: true }),
      request: { name: "clone", linked: true, start: true },
    }),
  },
  {
    operation: "vm.clone",
    title: "vm.clone, full, of a running VM",
    during: { step: "disks", delayMs: 60 },
    prepare: async (plane) => ({ vmId: await makeVm(plane, "subject", { start: true }), request: { name: "clone" } }),
  },
  {
    operation: "vm.migrate",
    title: "vm.migrate, live",
    during: { step: "move", delayMs: 2_000 },
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { start: true }),
      // Slow enough to be killed in the midst of it.
      request: { host: "h2", bandwidthMiBps: 16 },
    }),
  },
  {
    operation: "vm.migrate",
    title: "vm.migrate, cold, with its disk",
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { disks: [{ capacityBytes: 1 << 24, pool: "local" }] }),
      request: { host: "h2", copyDisks: true },
    }),
  },
  {
    operation: "vm.migrate",
    title: "vm.migrate, cold, with firmware variables",
    async prepare(plane) {
      // Firmware variables come to be at the first start.
      const vmId = await makeVm(plane, "subject", { firmware: "uefi", start: true });
      await plane.succeed("vm.force-off", { vmId });
      return { vmId, request: { host: "h2" } };
    },
  },
  {
    operation: "snapshot.create",
    title: "snapshot.create with memory",
    during: { step: "freeze", delayMs: 80 },
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { start: true }),
      request: { name: "s1", memory: true },
    }),
  },
  {
    operation: "snapshot.create",
    title: "snapshot.create of a stopped VM",
    prepare: async (plane) => ({ vmId: await makeVm(plane, "subject"), request: { name: "s1" } }),
  },
  {
    operation: "snapshot.revert",
    title: "snapshot.revert with memory",
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { start: true });
      const snapshotId = await snapshot(plane, vmId, "s1", true);
      await snapshot(plane, vmId, "s2");
      return { snapshotId };
    },
  },
  {
    operation: "snapshot.delete",
    title: "snapshot.delete of a stopped VM's first of two",
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject");
      const snapshotId = await snapshot(plane, vmId, "s1");
      await snapshot(plane, vmId, "s2");
      return { snapshotId };
    },
  },
  {
    operation: "snapshot.delete",
    title: "snapshot.delete of a running VM's first of two",
    during: { step: "merge", delayMs: 60 },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { disks: [{ capacityBytes: 96 << 20, pool: "shared" }] });
      const snapshotId = await snapshot(plane, vmId, "s1");
      // So that there is something to merge.
      const [disk] = plane.vm("subject").spec.disks;
      await promisify(execFile)("qemu-io", ["-c", "write -P 1 0 64M", disk?.source ?? ""]);
      await plane.succeed("vm.start", { vmId });
      await snapshot(plane, vmId, "s2");
      return { snapshotId };
    },
  },
];
