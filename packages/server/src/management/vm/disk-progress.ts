/** Making all disks of a plan as one step, with progress in bytes over all of them. */
import type { VolumeRef } from "./guest-file.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { StepContext } from "#management/task/operation.ts";
import { madeVolume, makeDisk } from "./disk-make.ts";
import type { DiskPlan } from "./disk-plan.ts";

export async function makeDisks<I>(
  deps: Pick<OperationDeps, "providers" | "clock">,
  context: StepContext<I>,
  hostId: string,
  plans: readonly DiskPlan[],
): Promise<VmDisk[]> {
  const disks: VmDisk[] = [];
  for (const plan of plans) {
    const message = describe(plan);
    const onProgress = (done: number, total: number): void => context.progress({ done, total, unit: "byte" }, message);
    disks.push(await makeDisk(deps, hostId, plan, context.repeated, { signal: context.signal, onProgress }));
  }
  return disks;
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
