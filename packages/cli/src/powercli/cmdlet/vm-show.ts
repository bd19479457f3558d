/** VMs as objects, after they were read or changed. */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { namesOf } from "#list.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { templateKind, vmKind, vmObject } from "#powercli/object/vm.ts";

export async function showVms(run: CmdletRun, vms: readonly Vm[]): Promise<void> {
  if (vms.length === 0) return;
  const hostName = await namesOf(run.api, "hostList");
  for (const vm of vms) run.write(vm.template ? templateKind : vmKind, vmObject(vm, hostName));
}

/** As it is now. */
export async function showVm(run: CmdletRun, vmId: Vm["id"]): Promise<void> {
  await showVms(run, [await run.api.call("vmGet", { parameters: { vmId } })]);
}

/** A change's result names the fields that wait for the VM's next start. */
export function warnOfPending(run: CmdletRun, vm: Pick<Vm, "name">, task: Task): void {
  const pending = task.result?.["pending"];
  if (!Array.isArray(pending) || pending.length === 0) return;
  run.warn(`${vm.name}: ${pending.map(String).join(", ")} will change at its next start.`);
}
