/**
 * Stops and forgets a pool that no VM and no image lives in; its volumes stay where they are. Who lives in it is looked at
 * again right before, when nobody makes anything in it any more.
 */
import { Type } from "typebox";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { AppError } from "#core/app-error.ts";
import { poolTarget } from "#management/pool/pool-lookup.ts";
import { operation } from "#management/task/operation.ts";
import { poolClaim } from "#management/task/resource-claim.ts";
import { describeUsers, volumeUsers } from "#management/volume/volume-user.ts";
import type { PoolRef } from "#storage/port.ts";
import type { OperationDeps } from "./deps.ts";

export function poolDelete(deps: OperationDeps) {
  const { inventory, providers } = deps;
  return operation({
    name: "pool.delete",
    input: Type.Object({ poolId: Type.String() }),
    check({ poolId }) {
      const pool = inventory.require("storage-pool", poolId, { field: "poolId" });
      providers.get(pool.hostId);
      requireUnused(pool);
    },
    claims: ({ poolId }) => ({ exclusive: [poolClaim(poolId)] }),
    target: ({ poolId }) => poolTarget(inventory, poolId),
    steps: [
      {
        name: "plan",
        async do({ input, signal }) {
          const pool = inventory.require("storage-pool", input.poolId, { field: "poolId" });
          const { hostId, name, uuid } = pool;
          await deps.hostSync.syncPool(hostId, name, { signal });
          requireUnused(pool);
          return { hostId, name, uuid };
        },
      },
      {
        name: "delete",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const { hostId, ...pool } = result<{ hostId: string } & PoolRef>("plan");
          await providers.get(hostId).storage.pool.deletePool(pool, { signal });
          await deps.hostSync.syncPool(hostId, pool.name, { signal });
        },
      },
    ],
  });

  function requireUnused(pool: StoragePool): void {
    for (const volume of inventory.by("volume", "poolId", pool.id)) {
      // Users on other hosts reach shared storage through their own pool.
      const users = volumeUsers(inventory, volume).filter(
        (user) => user.kind !== "volume" && isOn(pool.hostId, user.id),
      );
      if (users.length === 0) continue;
      const message = `Storage pool ${pool.name} is in use: ${volume.name} is used by ${describeUsers(users)}. Nothing was changed.`;
      throw new AppError("conflict", message, { field: "poolId", remedy: "Move or delete what uses it first." });
    }
  }

  function isOn(hostId: string, id: string): boolean {
    const snapshot = inventory.get("snapshot", id);
    const owner = inventory.get("vm", snapshot?.vmId ?? id) ?? inventory.get("image", id);
    return owner?.hostId === hostId;
  }
}
