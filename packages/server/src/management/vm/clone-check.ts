/** What a clone is made from, and refusing clones that can't be. */
import { checkName } from "@innkeeper/contract/name.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm, VmClone } from "@innkeeper/contract/resource/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { refuseForeignSnapshots } from "#management/snapshot/freeze.ts";
import { snapshotsOf } from "#management/snapshot/snapshot-record.ts";
import { refuse } from "./field-check.ts";
import { requireNameFree, requirePersistent, requireState } from "./lookup.ts";
import { requirePoolOfPath } from "./storage-reach.ts";

export interface CloneSource {
  readonly vm: Vm;
  /** undefined: its present state. */
  readonly snapshot: Snapshot | undefined;
}

export function cloneSource(inventory: Inventory, vmId: string, request: VmClone): CloneSource {
  const vm = inventory.require("vm", vmId, { field: "vmId" });
  const wanted = request.snapshot;
  if (wanted === undefined) return { vm, snapshot: undefined };
  const snapshot = snapshotsOf(inventory, vm.id).find((each) => each.id === wanted || each.name === wanted);
  if (snapshot === undefined)
    refuse("snapshot", `VM ${vm.name} has no snapshot ${JSON.stringify(wanted)}.`, "not_found");
  return { vm, snapshot };
}

export function checkClone(inventory: Inventory, { vm, snapshot }: CloneSource, request: VmClone): void {
  const wrong = checkName(request.name);
  if (wrong !== undefined) refuse("name", `The name ${wrong}.`);
  requireNameFree(inventory, request.name, "name");
  requireState(vm, "clone", "cloned");
  requirePersistent(vm, "cloned");
  if (snapshot === undefined) refuseForeignSnapshots(vm);
  const layers =
    snapshot?.disks ??
    vm.spec.disks.flatMap(({ target, device, readOnly, source, sourceType }) => {
      if (device !== "disk" || readOnly === true || source === undefined) return [];
      if (sourceType === "network") refuse("vmId", `Disk ${target} of VM ${vm.name} is a network disk.`, "unsupported");
      return [{ target, path: source }];
    });
  for (const { target, path } of layers) {
    requirePoolOfPath(inventory, vm.hostId, path, `Disk ${target} of VM ${vm.name}`);
  }
}
