/** Finding a VM for an operation, and refusing what its state does not allow, in words that say what does. */
import type { ResourceRef } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { statesFor, type VmAction, vmCan } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";

/** By id or name; undefined when there is none or the name is not unique. */
function findVm(inventory: Inventory, idOrName: string): Vm | undefined {
  const byId = inventory.get("vm", idOrName);
  if (byId !== undefined) return byId;
  const named = inventory.by("vm", "name", idOrName);
  return named.length === 1 ? named[0] : undefined;
}

/** What the task is about. The VM may be gone when a task that deleted it is resumed: then its id alone. */
export function vmTarget(inventory: Inventory, idOrName: string): ResourceRef {
  const vm = findVm(inventory, idOrName);
  return vm === undefined ? { kind: "vm", id: idOrName } : { kind: "vm", id: vm.id, name: vm.name };
}

/** Operations on one VM run one after the other. */
export function vmClaim(inventory: Inventory, idOrName: string): string {
  return `vm:${findVm(inventory, idOrName)?.id ?? idOrName}`;
}

/** Names are serialized, so that two operations can't take the same one. */
export function nameClaim(name: string): string {
  return `vm-name:${name}`;
}

/** So are UUIDs that clients choose. */
export function uuidClaim(uuid: string): string {
  return `vm-uuid:${uuid}`;
}

/** invalid_state unless the VM's state allows the action, host_unreachable if nobody knows it. `verb` completes "can't be …": started, migrated. */
export function requireState(vm: Vm, action: VmAction, verb: string): void {
  if (vmCan[action](vm)) return;
  if (vm.state === "unknown") {
    const why = vm.stateDetail === "" ? "its host can't be asked" : vm.stateDetail;
    throw new AppError("host_unreachable", `VM ${vm.name} can't be ${verb} now: ${why}. Nothing was changed.`, {
      remedy: `\`inn host show ${vm.hostId}\` says why. It is tried again all the time.`,
    });
  }
  const allowed = statesFor(action).join(", ");
  throw new AppError("invalid_state", `VM ${vm.name} is ${vm.state} and can't be ${verb}. Nothing was changed.`, {
    remedy: `It can be ${verb} when it is: ${allowed}.`,
  });
}

/** name_taken if a VM of any host has the name; names are unique in the datacenter, as they must be to migrate. */
export function requireNameFree(inventory: Inventory, name: string, field: string, exceptVmId?: string): void {
  const taken = inventory.by("vm", "name", name).find((vm) => vm.id !== exceptVmId);
  if (taken === undefined) return;
  const host = inventory.get("host", taken.hostId)?.name ?? taken.hostId;
  throw new AppError("name_taken", `There is already a VM ${JSON.stringify(name)}, on host ${host}.`, { field });
}

/** A template is what VMs are cloned from: it must not change by running. */
export function requireNotTemplate(vm: Vm, verb: string): void {
  if (!vm.template) return;
  throw new AppError("invalid_state", `VM ${vm.name} is a template and can't be ${verb}.`, {
    remedy: "Clone it, or make it a VM again first (template: false).",
  });
}

/** A domain without a persistent configuration is gone when it stops: what needs one is refused. */
export function requirePersistent(vm: Vm, verb: string): void {
  if (vm.persistent) return;
  throw new AppError("unsupported", `VM ${vm.name} is transient (made with virsh create) and can't be ${verb}.`, {
    remedy: "Define it on its host first (virsh dumpxml, virsh define).",
  });
}
