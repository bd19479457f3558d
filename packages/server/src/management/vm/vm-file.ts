/**
 * The files that are a VM's own: its disks, the layers below them that its snapshots froze or left behind, and saved
 * memory. Images, media, layers made by hand below a disk, disks that are shared, only read, or devices that others made
 * are not: they are named, and never deleted.
 */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { foreignReaders } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { readRetained } from "#management/snapshot/snapshot-record.ts";
import { isWritten, whyDeviceKept, whyKept } from "./device-rule.ts";
import { pathOn, poolOfPath } from "./storage-reach.ts";
import { isNamedAfter } from "./volume-name.ts";

export interface VmFiles {
  /** Active and frozen layers, and saved memory, that may be deleted with the VM. */
  readonly owned: readonly string[];
  /** What stays although disks are deleted: in no pool, shared, or a device. */
  readonly kept: readonly { readonly path: string; readonly reason: string }[];
}

interface OwnFile {
  readonly path: string;
  /** Why it is never deleted. */
  readonly reason?: string;
}

/** Everything of a VM, deletable or not; each once. */
export async function ownFiles(deps: OperationDeps, vm: Vm): Promise<OwnFile[]> {
  const files = new Map<string, OwnFile>();
  const add = (path: string, reason: string | undefined): void => {
    if (!files.has(path)) files.set(path, { path, ...(reason !== undefined && { reason }) });
  };
  for (const disk of vm.spec.disks) {
    if (disk.source !== undefined && (isWritten(disk) || disk.device === "disk")) add(disk.source, whyKept(vm, disk));
  }
  const layers = deps.inventory
    .by("snapshot", "vmId", vm.id)
    .flatMap(({ disks, memoryPath }) => [...disks.map((disk) => disk.path), ...(memoryPath ? [memoryPath] : [])]);
  const retained = (await readRetained(deps.store, vm.id)).map((layer) => layer.path);
  for (const path of [...layers, ...retained]) add(path, whyDeviceKept(vm, path));
  return [...files.values()];
}

/** conflict, naming who, if any of the files is read by another VM, a clone, a snapshot of another VM, or is an image. */
export async function deletableFiles(deps: OperationDeps, vm: Vm, call: Call): Promise<VmFiles> {
  const twin = deps.inventory.by("vm", "uuid", vm.uuid).find((each) => each.id !== vm.id);
  if (twin !== undefined) {
    const message = `VM ${twin.name} on another host has the same UUID and may have the same disks. Nothing was deleted.`;
    throw new AppError("conflict", message, {
      field: "deleteDisks",
      remedy: "Delete this one without its disks (deleteDisks: false).",
    });
  }
  const owned: string[] = [];
  const kept: { path: string; reason: string }[] = [];
  for (const { path, reason } of await ownFiles(deps, vm)) {
    const outside = poolOfPath(deps.inventory, vm.hostId, path) === undefined;
    const why = reason ?? (outside ? "it is in no storage pool of its host" : undefined);
    if (why === undefined) owned.push(path);
    else kept.push({ path, reason: why });
  }
  const world = await readWorld(deps, vm.hostId, [vm], call);
  const readers = [...foreignReaders(world, vm.id, new Set(owned)), ...possibleReaders(deps, vm, owned)];
  const [reader] = readers;
  if (reader !== undefined) {
    const names = [...new Set(readers.map((each) => each.by))].join(", ");
    throw new AppError("conflict", `The disks of VM ${vm.name} are used by ${names}. Nothing was deleted.`, {
      field: "deleteDisks",
      remedy: `Delete ${names} first, or leave the disks (deleteDisks: false).`,
      fault: { readers },
    });
  }
  return { owned, kept };
}

/**
 * VMs whose disks lie on layers that nobody can tell: an overlay outside of every pool, of a VM that is off. They might
 * lie on one of ours.
 */
function possibleReaders(
  { inventory }: Pick<OperationDeps, "inventory">,
  vm: Vm,
  owned: readonly string[],
): { readonly path: string; readonly by: string }[] {
  // Nobody else knows of the volumes that Innkeeper made.
  const found = owned.filter((each) => !isNamedAfter(vm, each));
  return inventory.list("vm").flatMap((other) => {
    const path = found.find((each) => pathOn(inventory, vm.hostId, other.hostId, each) !== undefined);
    if (other.id === vm.id || path === undefined || isActive(other)) return [];
    const unknown = other.spec.disks.find((disk) => {
      if (!mayHaveBacking(disk)) return false;
      return !inventory.byHost("volume", other.hostId).some((volume) => volume.path === disk.source);
    });
    if (unknown === undefined) return [];
    const by = `VM ${other.name} (possibly: its disk ${unknown.source} is in no storage pool, so what it lies on is not known; a pool for its folder tells)`;
    return [{ path, by }];
  });
}

function mayHaveBacking({ source, sourceType, format, backingChain }: VmDisk): boolean {
  if (source === undefined || !["file", "block"].includes(sourceType)) return false;
  return format !== undefined && format !== "raw" && (backingChain ?? []).length === 0;
}
