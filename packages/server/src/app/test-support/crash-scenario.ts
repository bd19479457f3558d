/** For each operation on VMs a situation in which it has all its steps to do. The crash matrix refuses an operation without one. */
import { createHash } from "node:crypto";
import type { ControlPlane } from "./control-plane.ts";
import type { VmOutcome } from "./crash-outcome.ts";
import { type Scenario, subject, takeSnapshot } from "./crash-situation.ts";
import { definitionOf, imageName, makeVm } from "./lab-vm.ts";
import { snapshotScenarios } from "./snapshot-scenario.ts";

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
          baseSha256: createHash("sha256").update(xml).digest("hex"),
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
    operation: "vm.rename",
    title: "vm.rename with firmware variables",
    steps: ["rename"],
    during: { step: "rename", delayMs: 15 },
    done: {
      vms: { renamed: { host: "h1", state: "shut off", layers: { vda: 2 } } },
      kept: ["h1:/var/lib/libvirt/qemu/nvram/renamed_VARS.fd"],
    },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { firmware: "uefi", start: true });
      await plane.succeed("vm.force-off", { vmId });
      return { vmId, request: { name: "renamed" } };
    },
  },
  {
    operation: "vm.delete",
    title: "vm.delete of a running VM with its disks and snapshots",
    done: { vms: {} },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { start: true });
      await takeSnapshot(plane, vmId, "s1", true);
      return { vmId, deleteDisks: true, force: true };
    },
  },
  {
    operation: "vm.delete",
    title: "vm.delete of a VM with firmware variables, whose disks stay",
    steps: ["undefine"],
    during: { step: "undefine", delayMs: 15 },
    done: {
      vms: {},
      kept: ["h1:/var/lib/libvirt/qemu/nvram/subject_VARS.fd"],
      stays: [/^file h1:.*\/subject_VARS\.fd$/, /^file shared:.*\/subject-\S+\.qcow2$/],
    },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { firmware: "uefi", start: true });
      await plane.succeed("vm.force-off", { vmId });
      return { vmId };
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
    operation: "vm.clone",
    title: "vm.clone of a snapshot of a stopped VM",
    steps: ["disks", "define"],
    done: {
      vms: {
        subject: { host: "h1", state: "shut off", layers: { vda: 3 }, current: "s1" },
        clone: { state: "shut off", layers: { vda: 1 } },
      },
      snapshots: ["s1"],
    },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject");
      await takeSnapshot(plane, vmId, "s1");
      return { vmId, request: { name: "clone", snapshot: "s1" } };
    },
  },
  {
    operation: "vm.clone",
    title: "vm.clone of a stopped VM with firmware variables",
    steps: ["define"],
    during: { step: "define", delayMs: 15 },
    done: {
      vms: {
        subject: { host: "h1", state: "shut off", layers: { vda: 2 } },
        clone: { state: "shut off", layers: { vda: 1 } },
      },
      kept: ["h1:/var/lib/libvirt/qemu/nvram/clone_VARS.fd", "h1:/var/lib/libvirt/qemu/nvram/subject_VARS.fd"],
    },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject", { firmware: "uefi", start: true });
      await plane.succeed("vm.force-off", { vmId });
      return { vmId, request: { name: "clone" } };
    },
  },
  {
    operation: "vm.migrate",
    title: "vm.migrate, live, with its disk and autostart",
    steps: ["volumes", "move", "finish"],
    done: subject("running", { host: "h2", layers: { vda: 1 }, info: [/^Autostart: +enable/m] }),
    prepare: async (plane) => {
      const vmId = await makeVm(plane, "subject", { disks: [{ capacityBytes: 1 << 24, pool: "local" }], start: true });
      await plane.succeed("vm.change", { vmId, request: { autostart: true } });
      return { vmId, request: { host: "h2", copyDisks: true } };
    },
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
    during: { step: "state", delayMs: 15 },
    async prepare(plane) {
      // Firmware variables come to be at the first start.
      const vmId = await makeVm(plane, "subject", { firmware: "uefi", start: true });
      await plane.succeed("vm.force-off", { vmId });
      return { vmId, request: { host: "h2" } };
    },
  },
  ...snapshotScenarios,
];
