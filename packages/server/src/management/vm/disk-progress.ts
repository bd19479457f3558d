/** Making all disks of a plan as one step, with progress in bytes over all of them. */
import type { VolumeRef } from "./guest-file.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { StepContext } from "#management/task/operation.ts";
import { madeVolume, makeDisk } from "./disk-make.ts";
import type { DiskPlan } from "./disk-plan.ts";

const madeKey = "made disks";

export async function makeDisks<I>(
  deps: Pick<OperationDeps, "providers" | "clock">,
  context: StepContext<I>,
  hostId: string,
  plans: readonly DiskPlan[],
): Promise<VmDisk[]> {
  const disks = keptDisks(context);
  for (const plan of plans.slice(disks.length)) {
    const message = describe(plan);
    const onProgress = (done: number, total: number): void => context.progress({ done, total, unit: "byte" }, message);
    disks.push(await makeDisk(deps, hostId, plan, context.repeated, { signal: context.signal, onProgress }));
    // Nothing else tells whose a volume is that has a name which was asked for.
    if ("named" in plan.origin) await context.keep(madeKey, { disks: [...disks] });
  }
  return disks;
}

/** The first ones of a plan, as far as it is known that they were made; after a crash there may be more. */
export function keptDisks({ resultIfAny }: Pick<StepContext<unknown>, "resultIfAny">): VmDisk[] {
  return [...(resultIfAny<{ disks: VmDisk[] }>(madeKey)?.disks ?? [])];
}

export function volumesOf(plans: readonly DiskPlan[]): VolumeRef[] {
  return plans.flatMap((plan) => madeVolume(plan) ?? []);
}

function describe({ disk, origin }: DiskPlan): string {
  switch (origin.kind) {
    case "copy":
      return `copying disk ${disk.target} from ${origin.source.name}`;
    case "transfer":
      return `copying disk ${disk.target} from another host`;
    case "overlay":
      return `linking disk ${disk.target}`;
    default:
      return `creating disk ${disk.target}`;
  }
}
