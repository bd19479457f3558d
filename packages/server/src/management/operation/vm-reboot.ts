/** Asks the guest to reboot; whether it does is the guest's. */
import { powerOperation } from "#management/vm/power.ts";
import type { OperationDeps } from "./deps.ts";

export function vmReboot(deps: OperationDeps) {
  return powerOperation(deps, {
    name: "vm.reboot",
    action: "reboot",
    verb: "rebooted",
    act: (guest, vm, call) => guest.lifecycle.reboot(vm.uuid, call),
  });
}
