/** For each operation on VMs a situation in which it has all its steps to do. The crash matrix refuses an operation without one. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Outcome, VmOutcome } from "./crash-outcome.ts";
import { definitionOf, imageName, makeVm } from "./lab-vm.ts";

export interface Scenario {
  readonly operation: string;
  readonly title: string;
  /** The steps that have something to do, unless all of them have. */
  readonly steps?: readonly string[];
  /** A step that takes long, and how far into it the control plane is killed besides. */
  readonly during?: { readonly step: string; readonly delayMs: number };
  /** Makes the situation and returns the operation's input. */
  prepare(plane: ControlPlane, lab: Lab): Promise<unknown>;
  /** What is there when it has succeeded. */
  readonly done: Outcome;
}

async function snapshot(plane: ControlPlane, vmId: string, name: string, memory = false): Promise<string> {
  const input = { vmId, request: { name, memory } };
  return (await plane.succeed<{ snapshotId: string }>("snapshot.create", input)).snapshotId;
}

/** By virsh, in libvirt's own keeping. */
async function virshSnapshot(plane: ControlPlane, lab: Lab, ...argv: string[]): Promise<void> {
  await lab.host("h1").exec(["virsh", "-q", "snapshot-create-as", "subject", ...argv]);
  const { hostId, uuid } = plane.vm("subject");
  await plane.deps.hostSync.syncVm(hostId, uuid, { signal: AbortSignal.timeout(60_000) });
}

function snapshotNamed(plane: ControlPlane, name: string): string {
  return plane.inventory.require("snapshot", name).id;
}

/** The VM of makeVm, as it is unless told. */
const subject = (state: VmOutcome["state"], change: Partial<VmOutcome> = {}): Outcome => ({
  vms: { subject: { host: "h1", state, layers: { vda: 2 }, ...change } },
});

const power = (
  operation: string,
  done: VmOutcome["state"],
  first: (plane: ControlPlane, vmId: string) => Promise<unknown>,
  start = true,
): Scenario => ({
  operation,
  title: operation,
  done: subject(done),
  async prepare(plane) {
    const vmId = await makeVm(plane, "subject", { start });
    await first(plane, vmId);
    return { vmId };
  },
});
/** Its agent answers: from now on it hears the power button. */
async function booted(plane: ControlPlane, vmId: string): Promise<void> {
  await plane.until("its agent", () => plane.inventory.get("vm", vmId)?.guestAgentConnected || undefined, 120_000);
}
/** A VM with one disk, in a client's own words. */
function installedDocument(bootDevice: string): string {
  const disk = '<disk device="disk"><target dev="vda" bus="virtio"/></disk>';
  return `<domain><os><type machine="q35">hvm</type><boot dev="${bootDevice}"/></os><devices>${disk}</devices></domain>`;
}
const twoCards = /<interface [^]*<interface /;
/** Of operations on snapshots: what is done with those of libvirt's own. */
const libvirtSteps = ["plan", "libvirt"];
const keptSnapshot = (name: string): string => `h1:/var/lib/libvirt/qemu/snapshot/subject/${name}.xml`;
const nothing = async (): Promise<void> => {};

export const scenarios: readonly Scenario[] = [
  {
    operation: "vm.create",
    title: "vm.create, linked and new disk, started",
    done: {
      vms: {
        subject: { state: "running", layers: { vda: 2, vdb: 1 }, sizes: { vdb: 1 << 26 }, live: [/<interface /] },
      },
    },
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
    done: {
      vms: {
        subject: {
          state: "running",
          layers: { vda: 1 },
          sizes: { vda: 1 << 26 },
          live: [/<boot dev='network'\/>/, /own\.qcow2/],
          config: [/<boot dev='hd'\/>/, /own\.qcow2/],
        },
      },
    },
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
    done: subject("running", {
      layers: { vda: 2, vdb: 1, vdc: 1 },
      sizes: { vdc: 1 << 25 },
      live: [/<total_iops_sec>500</, twoCards],
      config: [/<total_iops_sec>500</, twoCards, /<currentMemory unit='KiB'>81920</],
      info: [/^Autostart: +enable/m],
      description: "changed",
    }),
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
    done: subject("shut off", {
      layers: { vda: 1 },
      sizes: { vda: 1 << 26 },
      config: [/<vcpu [^>]*>2</],
    }),
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
    operation: "vm.edit",
    title: "vm.edit of a running VM",
    done: subject("running", { config: [/<on_crash>preserve</], live: [/<on_crash>destroy</], description: "edited" }),
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { start: true });
      const xml = await definitionOf(plane, "subject");
      return {
        vmId,
        request: {
          domainXml: xml.replace("<on_crash>destroy<", "<description>edited</description><on_crash>preserve<"),
        },
      };
    },
  },
  {
    operation: "vm.rename",
    title: "vm.rename",
    done: { vms: { renamed: { host: "h1", state: "shut off", layers: { vda: 2 } } } },
    prepare: async (plane) => ({ vmId: await makeVm(plane, "subject"), request: { name: "renamed" } }),
  },
  {
    operation: "vm.delete",
    title: "vm.delete of a running VM with its disks and snapshots",
    done: { vms: {} },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { start: true });
      await snapshot(plane, vmId, "s1", true);
      return { vmId, deleteDisks: true, force: true };
    },
  },
  power("vm.start", "running", nothing, false),
  power("vm.shutdown", "shut off", booted),
  power("vm.force-off", "shut off", nothing),
  power("vm.reboot", "running", nothing),
  power("vm.reset", "running", nothing),
  power("vm.suspend", "paused", nothing),
  power("vm.resume", "running", (plane, vmId) => plane.succeed("vm.suspend", { vmId })),
  {
    operation: "vm.clone",
    title: "vm.clone, linked, of a running VM",
    done: {
      vms: {
        subject: { host: "h1", state: "running", layers: { vda: 3 }, current: "base of clone" },
        clone: { state: "running", layers: { vda: 3 } },
      },
      snapshots: ["base of clone"],
    },
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { start: true }),
      request: { name: "clone", linked: true, start: true },
    }),
  },
  {
    operation: "vm.clone",
    title: "vm.clone, full, of a running VM",
    done: {
      vms: {
        subject: { host: "h1", state: "running", layers: { vda: 2 } },
        clone: { state: "shut off", layers: { vda: 1 } },
      },
    },
    during: { step: "disks", delayMs: 60 },
    prepare: async (plane) => ({ vmId: await makeVm(plane, "subject", { start: true }), request: { name: "clone" } }),
  },
  {
    operation: "vm.migrate",
    title: "vm.migrate, live",
    done: subject("running", { host: "h2" }),
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
    done: subject("shut off", { host: "h2", layers: { vda: 1 } }),
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { disks: [{ capacityBytes: 1 << 24, pool: "local" }] }),
      request: { host: "h2", copyDisks: true },
    }),
  },
  {
    operation: "vm.migrate",
    title: "vm.migrate, cold, with firmware variables",
    done: {
      ...subject("shut off", { host: "h2", config: [/<loader |firmware='efi'/] }),
      kept: ["h2:/var/lib/libvirt/qemu/nvram/subject_VARS.fd"],
    },
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
    done: { ...subject("running", { layers: { vda: 3 }, current: "s1" }), snapshots: ["s1"] },
    during: { step: "freeze", delayMs: 80 },
    prepare: async (plane) => ({
      vmId: await makeVm(plane, "subject", { start: true }),
      request: { name: "s1", memory: true },
    }),
  },
  {
    operation: "snapshot.create",
    title: "snapshot.create of a stopped VM",
    done: { ...subject("shut off", { layers: { vda: 3 }, current: "s1" }), snapshots: ["s1"] },
    prepare: async (plane) => ({ vmId: await makeVm(plane, "subject"), request: { name: "s1" } }),
  },
  {
    operation: "snapshot.revert",
    title: "snapshot.revert with memory",
    done: { ...subject("running", { layers: { vda: 3 }, current: "s1" }), snapshots: ["s1", "s2"] },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { start: true });
      const snapshotId = await snapshot(plane, vmId, "s1", true);
      await snapshot(plane, vmId, "s2");
      return { snapshotId };
    },
  },
  {
    operation: "snapshot.revert",
    title: "snapshot.revert to one of virsh's, with memory",
    steps: libvirtSteps,
    during: { step: "libvirt", delayMs: 40 },
    done: {
      ...subject("running", { current: "v1", description: "kept" }),
      snapshots: ["v1", "v2"],
      kept: [keptSnapshot("v1"), keptSnapshot("v2")],
    },
    async prepare(plane, lab) {
      const vmId = await makeVm(plane, "subject", { start: true });
      await virshSnapshot(plane, lab, "v1");
      await virshSnapshot(plane, lab, "v2");
      // Innkeeper's own facts are not the snapshot's.
      await plane.succeed("vm.change", { vmId, request: { description: "kept" } });
      return { snapshotId: snapshotNamed(plane, "v1") };
    },
  },
  {
    operation: "snapshot.delete",
    title: "snapshot.delete of virsh's first of two, within the disk of a stopped VM",
    steps: libvirtSteps,
    done: { ...subject("shut off", { current: "v2" }), snapshots: ["v2"], kept: [keptSnapshot("v2")] },
    async prepare(plane, lab) {
      await makeVm(plane, "subject");
      await virshSnapshot(plane, lab, "v1");
      await virshSnapshot(plane, lab, "v2");
      return { snapshotId: snapshotNamed(plane, "v1") };
    },
  },
  {
    operation: "snapshot.delete",
    title: "snapshot.delete of virsh's own in files, of a running VM, with memory",
    steps: libvirtSteps,
    during: { step: "libvirt", delayMs: 40 },
    done: subject("running"),
    async prepare(plane, lab) {
      await makeVm(plane, "subject", { start: true });
      await virshSnapshot(plane, lab, "v1", "--memspec", `${lab.sharedFolder}/subject-v1.mem`);
      return { snapshotId: snapshotNamed(plane, "v1") };
    },
  },
  {
    operation: "snapshot.delete",
    title: "snapshot.delete of a stopped VM's first of two",
    done: { ...subject("shut off", { layers: { vda: 3 }, current: "s2" }), snapshots: ["s2"] },
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
    done: { ...subject("running", { layers: { vda: 2 }, current: "s2" }), snapshots: ["s2"] },
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
