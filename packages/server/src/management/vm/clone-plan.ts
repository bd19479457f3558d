/** The disks of a clone: copies of the source's layers, or overlays on them. */
import type { Vm, VmClone } from "@innkeeper/contract/resource/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { DiskPlan } from "./disk-plan.ts";
import { choosePool, requireRoom } from "./disk-pool.ts";
import { isFilePool, requirePoolOfPath, sourceTypeIn, volumeNameIn } from "./storage-reach.ts";
import { diskVolumeName } from "./volume-name.ts";

export interface SourceLayer {
  readonly target: string;
  readonly path: string;
  readonly format: string;
  readonly capacityBytes: number;
  /** Of this layer alone; what lies below it is copied as well. */
  readonly allocationBytes: number;
}

/** In the pool that is asked for; else beside the source's disk if it is a file. */
export function planClone(
  inventory: Inventory,
  source: Vm,
  clone: { readonly id: string; readonly name: string },
  layers: readonly SourceLayer[],
  request: Pick<VmClone, "linked" | "pool">,
): DiskPlan[] {
  const host = inventory.require("host", source.hostId);
  return layers.map((layer): DiskPlan => {
    const what = `Disk ${layer.target} of VM ${source.name}`;
    const own = requirePoolOfPath(inventory, source.hostId, layer.path, what);
    const linked = request.linked === true;
    const suits = linked ? isFilePool : () => true;
    const beside = suits(own) ? { pool: own.id } : {};
    const wanted = request.pool === undefined ? beside : { pool: request.pool };
    const pool = choosePool({ inventory, host }, wanted, "", suits);
    if (!linked) requireRoom(pool, layer.allocationBytes, `a copy of disk ${layer.target}`, "pool");
    const format = linked || isFilePool(pool) ? "qcow2" : "raw";
    const volume = {
      poolName: pool.name,
      volumeName: diskVolumeName(clone, layer.target, format),
      sourceType: sourceTypeIn(pool),
      format,
      capacityBytes: layer.capacityBytes,
    } as const;
    return {
      disk: { target: layer.target, device: "disk", bus: "" },
      origin: linked
        ? { kind: "overlay", backing: { path: layer.path, format: layer.format }, ...volume }
        : {
            kind: "copy",
            source: { poolName: own.name, name: volumeNameIn(own, layer.path), format: layer.format },
            ...volume,
          },
    };
  });
}
