/** Lets a paused VM go on. A guest that runs already is fine. */
import { powerOperation } from "#management/vm/power.ts";
import type { OperationDeps } from "./deps.ts";

export function vmResume(deps: OperationDeps) {
  return powerOperation(deps, {
    name: "vm.resume",
    action: "resume",
    verb: "resumed",
    async act(guest, vm, call) {
      if ((await guest.inventory.read(vm.uuid, call)).state !== "paused") return;
      await guest.lifecycle.resume(vm.uuid, call);
    },
  });
}
