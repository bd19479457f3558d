/** The crash matrix's situations for operations on snapshots: Innkeeper's own, and those in libvirt's keeping. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { ControlPlane } from "./control-plane.ts";
import { type Scenario, subject, takeSnapshot } from "./crash-situation.ts";
import { makeVm } from "./lab-vm.ts";

/** Of operations on snapshots: what is done with those of libvirt's own. */
const libvirtSteps = ["plan", "libvirt"];
const keptSnapshot = (name: string): string => `h1:/var/lib/libvirt/qemu/snapshot/subject/${name}.xml`;

/** By virsh, in libvirt's own keeping. */
async function virshSnapshot(plane: ControlPlane, lab: Lab, ...argv: string[]): Promise<void> {
  await lab.host("h1").exec(["virsh", "-q", "snapshot-create-as", "subject", ...argv]);
  const { hostId, uuid } = plane.vm("subject");
  await plane.deps.hostSync.syncVm(hostId, uuid, { signal: AbortSignal.timeout(60_000) });
}

function snapshotNamed(plane: ControlPlane, name: string): string {
  return plane.inventory.require("snapshot", name).id;
}

export const snapshotScenarios: readonly Scenario[] = [
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
      const snapshotId = await takeSnapshot(plane, vmId, "s1", true);
      await takeSnapshot(plane, vmId, "s2");
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
    title: "snapshot.delete of a stopped VM's first of two",
    done: { ...subject("shut off", { layers: { vda: 3 }, current: "s2" }), snapshots: ["s2"] },
    async prepare(plane) {
      const vmId = await makeVm(plane, "subject");
      const snapshotId = await takeSnapshot(plane, vmId, "s1");
      await takeSnapshot(plane, vmId, "s2");
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
      const snapshotId = await takeSnapshot(plane, vmId, "s1");
      // So that there is something to merge.
      const [disk] = plane.vm("subject").spec.disks;
      await promisify(execFile)("qemu-io", ["-c", "write -P 1 0 64M", disk?.source ?? ""]);
      await plane.succeed("vm.start", { vmId });
      await takeSnapshot(plane, vmId, "s2");
      return { snapshotId };
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
];
