/** Pauses a VM's CPUs. A guest that is paused already is fine. */
import { powerOperation } from "#management/vm/power.ts";
import type { OperationDeps } from "./deps.ts";

export function vmSuspend(deps: OperationDeps) {
  return powerOperation(deps, {
    name: "vm.suspend",
    action: "suspend",
    verb: "suspended",
    async act(guest, vm, call) {
      if ((await guest.inventory.read(vm.uuid, call)).state === "paused") return;
      await guest.lifecycle.suspend(vm.uuid, call);
    },
  });
}
