/** Presses the reset button. */
import { powerOperation } from "#management/vm/power.ts";
import type { OperationDeps } from "./deps.ts";

export function vmReset(deps: OperationDeps) {
  return powerOperation(deps, {
    name: "vm.reset",
    action: "reset",
    verb: "reset",
    act: (guest, vm, call) => guest.lifecycle.reset(vm.uuid, call),
  });
}
