/** The names under which tasks claim volumes: by pool and name, which is what a volume is known by before it is made. */
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { poolOfPath, volumeNameIn } from "#management/vm/storage-reach.ts";
import { volumeClaim } from "./pool-lookup.ts";

export function volumeClaimOf(inventory: Inventory, volume: Pick<Volume, "poolId" | "name">): string | undefined {
  const pool = inventory.get("storage-pool", volume.poolId);
  return pool === undefined ? undefined : volumeClaim(pool, volume.name);
}

/** undefined for what is in no pool: no operation on volumes can reach it. */
export function volumeClaimOfPath(inventory: Inventory, hostId: string, path: string): string | undefined {
  const pool = poolOfPath(inventory, hostId, path);
  return pool === undefined ? undefined : volumeClaim(pool, volumeNameIn(pool, path));
}

export function imageClaim(imageId: string): string {
  return `image:${imageId}`;
}
