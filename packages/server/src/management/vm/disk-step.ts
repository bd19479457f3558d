/**
 * The step that makes the disks of a new VM, a clone, a change. The step `plan` before it stored where and what; undone,
 * what was made is removed, however far it got.
 */
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { Step } from "#management/task/operation.ts";
import { removeDisks } from "./disk-make.ts";
import type { DiskPlan } from "./disk-plan.ts";
import { keptDisks, makeDisks, volumesOf } from "./disk-progress.ts";
import { syncPools } from "./sync.ts";

interface PlanWithDisks {
  readonly hostId: string;
  readonly disks: readonly DiskPlan[];
}

/** Result: `{ disks }`, in the order of the plan, as a guest is defined with them. */
export function disksStep<Input>(deps: OperationDeps): Step<Input> {
  return {
    name: "disks",
    async do(context) {
      const { hostId, disks } = context.result<PlanWithDisks>("plan");
      return { disks: await makeDisks(deps, context, hostId, disks) };
    },
    async undo(context) {
      const plan = context.resultIfAny<PlanWithDisks>("plan");
      if (plan === undefined) return;
      const madeCount = context.resultIfAny("disks") === undefined ? keptDisks(context).length : plan.disks.length;
      await removeDisks(deps, plan.hostId, plan.disks, madeCount, { signal: context.signal });
      await syncPools(deps, context, plan.hostId, volumesOf(plan.disks));
    },
  };
}

export function madeDisks(context: { result<T>(step: string): T }): VmDisk[] {
  return context.result<{ disks: VmDisk[] }>("disks").disks;
}
