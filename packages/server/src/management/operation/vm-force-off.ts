/** Cuts a VM's power. A guest that is off is fine. */
import { powerOperation } from "#management/vm/power.ts";
import type { OperationDeps } from "./deps.ts";

export function vmForceOff(deps: OperationDeps) {
  return powerOperation(deps, {
    name: "vm.force-off",
    action: "forceOff",
    verb: "forced off",
    act: (guest, vm, call) => guest.lifecycle.forceOff(vm.uuid, call),
  });
}
