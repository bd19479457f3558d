/**
 * What an operation that succeeded must have left behind: asked of the hosts (virsh, qemu-img) and compared with the
 * documents, so that a task which says that it is done and has skipped its work is found out.
 */
import assert from "node:assert/strict";
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { ControlPlane } from "./control-plane.ts";
import { labState } from "./lab-state.ts";

export interface Outcome {
  /** All VMs that there are, by name. */
  readonly vms: Readonly<Record<string, VmOutcome>>;
  /** Names of all snapshots, without an id in brackets. */
  readonly snapshots?: readonly string[];
  /** What hosts keep of VMs beside their disks, as LabState has it. */
  readonly kept?: readonly string[];
  /** Files that stay though no VM has them any more, as orphans() names them: each expression is of one. */
  readonly stays?: readonly RegExp[];
}

export interface VmOutcome {
  /** Where that is not for the control plane to choose. */
  readonly host?: string;
  readonly state: "running" | "paused" | "shut off";
  /** Of each disk: how many files its chain has, its own included. */
  readonly layers: Readonly<Record<string, number>>;
  readonly sizes?: Readonly<Record<string, number>>;
  /** In the XML of the domain as it runs. */
  readonly live?: readonly RegExp[];
  /** In the XML of its next start. */
  readonly config?: readonly RegExp[];
  /** In what `virsh dominfo` says. */
  readonly info?: readonly RegExp[];
  readonly description?: string;
  /** Name of the snapshot that its present state grows from. */
  readonly current?: string;
}

export async function assertOutcome(outcome: Outcome, plane: ControlPlane, lab: Lab, what: string): Promise<void> {
  const { domains, kept } = await labState(lab);
  const wanted = Object.entries(outcome.vms).map(
    ([name, vm]) => `${vm.host ?? hostOf(plane, name)}: ${name} ${vm.state}`,
  );
  assert.deepEqual(domains, wanted.toSorted(), what);
  const documents = plane.inventory
    .list("vm")
    .map(({ name, state }) => `${hostOf(plane, name)}: ${name} ${words(state)}`);
  assert.deepEqual(documents.toSorted(), wanted.toSorted(), `${what}: the documents`);
  const snapshots = plane.inventory.list("snapshot");
  assert.deepEqual(snapshots.map(plainName).toSorted(), outcome.snapshots ?? [], what);
  assert.deepEqual(kept, outcome.kept ?? [], what);
  // libvirt keeps memory within the disk.
  const own = snapshots.filter(({ source }) => source === undefined);
  for (const { vmId, memoryPath = "" } of own.filter(({ withMemory }) => withMemory)) {
    const host = lab.host(hostOf(plane, plane.inventory.require("vm", vmId).name));
    await host.exec(["test", "-s", memoryPath]);
  }
  for (const [name, vm] of Object.entries(outcome.vms)) {
    await assertVm(vm, plane.vm(name), { plane, host: lab.host(hostOf(plane, name)), what: `${what}: ${name}` });
  }
}

async function assertVm(
  wanted: VmOutcome,
  vm: Vm,
  { plane, host, what }: { plane: ControlPlane; host: LabHost; what: string },
): Promise<void> {
  const disks = await chains(host, vm.name);
  const layers = Object.fromEntries(Object.entries(disks).map(([target, { length }]) => [target, length]));
  assert.deepEqual(layers, wanted.layers, what);
  for (const [target, size] of Object.entries(wanted.sizes ?? {})) assert.equal(disks[target]?.[0], size, what);
  const said = [
    { expressions: wanted.live, argv: ["dumpxml", vm.name] },
    { expressions: wanted.config, argv: ["dumpxml", "--inactive", vm.name] },
    { expressions: wanted.info, argv: ["dominfo", vm.name] },
  ];
  for (const { expressions = [], argv } of said) {
    const { stdout } = await host.exec(["virsh", ...argv]);
    for (const expression of expressions) assert.match(stdout, expression, `${what}: no ${expression} in ${stdout}`);
  }
  assert.equal(vm.description, wanted.description ?? "", what);
  const snapshots = plane.inventory.by("snapshot", "vmId", vm.id);
  const current = snapshots.filter((each) => each.current);
  assert.deepEqual(current.map(plainName), wanted.current === undefined ? [] : [wanted.current], what);
  const ownId = current.find(({ source }) => source === undefined)?.id ?? null;
  assert.equal(vm.currentSnapshotId, ownId, what);
}

/** Of each of a domain's disks the virtual sizes of the files that it reads, from the top. */
async function chains(host: LabHost, name: string): Promise<Record<string, number[]>> {
  const { stdout } = await host.exec(["virsh", "-q", "domblklist", name]);
  const found: Record<string, number[]> = {};
  for (const line of stdout.split("\n").filter((each) => each.trim() !== "")) {
    const [target = "", file = ""] = line.trim().split(/\s+/);
    const info = await host.exec(["qemu-img", "info", "-U", "--backing-chain", "--output=json", file]);
    found[target] = (JSON.parse(info.stdout) as { "virtual-size": number }[]).map((layer) => layer["virtual-size"]);
  }
  return found;
}

function hostOf(plane: ControlPlane, name: string): string {
  return plane.inventory.require("host", plane.vm(name).hostId).name;
}

function plainName({ name }: Snapshot): string {
  return name.replace(/ \(\w+\)$/, "");
}

/** As virsh says it. */
function words(state: Vm["state"]): string {
  return state === "shutoff" ? "shut off" : state;
}
