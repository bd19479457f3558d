/** Finding pools and volumes for an operation, with refusals in the user's words. */
import type { ResourceRef } from "@innkeeper/contract/resource/task.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";

export function requireRunningPool(pool: StoragePool): StoragePool {
  if (pool.state === "running") return pool;
  throw new AppError("invalid_state", `Storage pool ${pool.name} is ${pool.state}. Nothing was changed.`, {
    remedy: "Start it on its host (virsh pool-start) and see why it was not running.",
  });
}

export function requirePoolOf(inventory: Inventory, volume: Volume): StoragePool {
  return inventory.require("storage-pool", volume.poolId, { field: "poolId" });
}

export function volumeTarget(inventory: Inventory, volumeId: string): ResourceRef {
  const volume = inventory.get("volume", volumeId);
  return volume === undefined ? { kind: "volume", id: volumeId } : { kind: "volume", id: volume.id, name: volume.name };
}

export function poolTarget(inventory: Inventory, poolId: string): ResourceRef {
  const pool = inventory.get("storage-pool", poolId);
  return pool === undefined
    ? { kind: "storage-pool", id: poolId }
    : { kind: "storage-pool", id: pool.id, name: pool.name };
}

/** Shared pools of one name are one storage: work on a volume there is serialized across hosts. */
export function volumeClaim(pool: StoragePool, volumeName: string): string {
  return `volume:${pool.shared ? "shared" : pool.hostId}:${pool.name}:${volumeName}`;
}
