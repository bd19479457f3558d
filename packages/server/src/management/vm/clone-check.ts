/** What a clone is made from, and refusing clones that can't be. */
import { checkName } from "@innkeeper/contract/name.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm, VmClone } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Call } from "#core/call.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { refuseForeignSnapshots } from "#management/snapshot/freeze.ts";
import { isEmptyOverlay } from "#management/snapshot/empty-overlay.ts";
import { currentSnapshot, foreignSnapshotsOf, snapshotsOf } from "#management/snapshot/snapshot-record.ts";
import type { Guest } from "#virtualization/port.ts";
import { isCopied, isWritten, refuseDisks } from "./device-rule.ts";
import { refuse } from "./field-check.ts";
import { requireNameFree, requirePersistent, requireState } from "./lookup.ts";
import { requirePoolOfPath } from "./storage-reach.ts";

interface CloneSource {
  readonly vm: Vm;
  /** undefined: its present state. */
  readonly snapshot: Snapshot | undefined;
}

export function cloneSource(inventory: Inventory, vmId: string, request: VmClone): CloneSource {
  const vm = inventory.require("vm", vmId, { field: "vmId" });
  const wanted = request.snapshot;
  if (wanted === undefined) return { vm, snapshot: undefined };
  const isWanted = (each: Snapshot): boolean => each.id === wanted || each.name === wanted;
  const snapshot = snapshotsOf(inventory, vm.id).find(isWanted);
  if (snapshot === undefined && foreignSnapshotsOf(inventory, vm.id).some(isWanted)) {
    const message = `Snapshot ${wanted} of VM ${vm.name} is in libvirt's own keeping, which clones none.`;
    refuse("snapshot", message, "unsupported", "Revert to it, shut the VM down, and clone that.");
  }
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
  if (snapshot === undefined) checkPresent(vm, request);
  const layers =
    snapshot?.disks ??
    vm.spec.disks.flatMap((disk) =>
      isCopied(disk) && disk.source !== undefined ? [{ target: disk.target, path: disk.source }] : [],
    );
  for (const { target, path } of layers) {
    requirePoolOfPath(inventory, vm.hostId, path, `Disk ${target} of VM ${vm.name}`);
  }
}

/** Of a VM that is off only volumes are read; a linked clone, and that of a running VM, needs its layers frozen. */
function checkPresent(vm: Vm, request: VmClone): void {
  refuseDisks(vm, vm.spec.disks.filter(isCopied), "copy", "be cloned");
  if (request.linked !== true && !isActive(vm)) return;
  refuseForeignSnapshots(vm);
  const how = request.linked === true ? "be cloned as linked" : "be cloned while it runs";
  refuseDisks(vm, vm.spec.disks.filter(isWritten), "freeze", how);
}

/**
 * Whether a stopped VM's present state is that of its current snapshot: its overlays have no data. So that many linked
 * clones of a template lie on one snapshot.
 */
export async function isAsFrozen(
  deps: Pick<OperationDeps, "inventory" | "providers">,
  vm: Pick<Vm, "id" | "hostId">,
  guest: Pick<Guest, "spec">,
  call: Call,
): Promise<boolean> {
  const current = currentSnapshot(deps.inventory, vm.id);
  const disks = guest.spec.disks.filter((disk) => disk.device === "disk" && disk.readOnly !== true);
  if (current === undefined || disks.length !== current.disks.length) return false;
  const { volume } = deps.providers.get(vm.hostId).storage;
  for (const { target, source } of disks) {
    const frozen = current.disks.find((disk) => disk.target === target);
    const stored = source === undefined ? undefined : await volume.findVolumeByPath(source, call);
    if (stored?.backingPath === undefined || stored.backingPath !== frozen?.path) return false;
    const { poolName, name } = stored;
    if (!(await isEmptyOverlay((offset, length) => volume.read(poolName, name, { offset, length }, call))))
      return false;
  }
  return true;
}
