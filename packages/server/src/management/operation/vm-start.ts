/** Powers a VM on. A guest that runs already, as after a crash of the control plane, is fine. */
import { powerOperation } from "#management/vm/power.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { OperationDeps } from "./deps.ts";

export function vmStart(deps: OperationDeps) {
  return powerOperation(deps, {
    name: "vm.start",
    action: "start",
    verb: "started",
    notTemplate: true,
    async act(guest, vm, call) {
      if (isActive(await guest.inventory.read(vm.uuid, call))) return;
      await guest.lifecycle.start(vm.uuid, {}, call);
    },
  });
}
