/**
 * The files that are a VM's own: its disks, the layers below them that its snapshots froze or left behind, and saved
 * memory. Images, media, and layers made by hand below a disk are not: they are named, and never deleted.
 */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { foreignReaders } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { readRetained, snapshotsOf } from "#management/snapshot/snapshot-record.ts";
import { poolOfPath } from "./storage-reach.ts";

export interface VmFiles {
  /** Active and frozen layers, and saved memory, that may be deleted with the VM. */
  readonly owned: readonly string[];
  /** What stays although disks are deleted: in no pool, or shared with another VM as a whole. */
  readonly kept: readonly { readonly path: string; readonly reason: string }[];
}

/** Everything of a VM, deletable or not. */
export async function ownPaths(deps: OperationDeps, vm: Vm): Promise<string[]> {
  const active = vm.spec.disks.flatMap((disk) =>
    disk.device === "disk" && disk.readOnly !== true && disk.sourceType !== "network" ? (disk.source ?? []) : [],
  );
  const snapshots = snapshotsOf(deps.inventory, vm.id);
  const frozen = snapshots.flatMap((snapshot) => snapshot.disks.map((disk) => disk.path));
  const memory = snapshots.flatMap((snapshot) => snapshot.memoryPath ?? []);
  const retained = (await readRetained(deps.store, vm.id)).map((layer) => layer.path);
  return [...new Set([...active, ...frozen, ...retained, ...memory])];
}

/** conflict, naming who, if any of the files is read by another VM, a clone, a snapshot of another VM, or is an image. */
export async function deletableFiles(deps: OperationDeps, vm: Vm, call: Call): Promise<VmFiles> {
  const twin = deps.inventory.list("vm").find((each) => each.uuid === vm.uuid && each.id !== vm.id);
  if (twin !== undefined) {
    const message = `VM ${twin.name} on another host has the same UUID and may have the same disks. Nothing was deleted.`;
    throw new AppError("conflict", message, {
      field: "deleteDisks",
      remedy: "Delete this one without its disks (deleteDisks: false).",
    });
  }
  const all = await ownPaths(deps, vm);
  const world = await readWorld(deps, vm.hostId, [vm], call);
  const readers = foreignReaders(world, vm.id, new Set(all));
  const [reader] = readers;
  if (reader !== undefined) {
    const names = [...new Set(readers.map((each) => each.by))].join(", ");
    throw new AppError("conflict", `The disks of VM ${vm.name} are used by ${names}. Nothing was deleted.`, {
      field: "deleteDisks",
      remedy: `Delete ${names} first, or leave the disks (deleteDisks: false).`,
      fault: { readers },
    });
  }
  const outside = all.filter((path) => poolOfPath(deps.inventory, vm.hostId, path) === undefined);
  return {
    owned: all.filter((path) => !outside.includes(path)),
    kept: outside.map((path) => ({ path, reason: "it is in no storage pool of its host" })),
  };
}
