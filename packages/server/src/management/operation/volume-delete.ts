/** Deletes a volume that nothing uses. Who uses it is looked at again right before, under the volume's lock. */
import { Type } from "typebox";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { requirePoolOf, requireRunningPool, volumeTarget } from "#management/pool/pool-lookup.ts";
import { operation } from "#management/task/operation.ts";
import { describeUsers, volumeUsers } from "#management/volume/volume-user.ts";
import type { OperationDeps } from "./deps.ts";
import { claimOf } from "./volume-resize.ts";

export function volumeDelete(deps: OperationDeps) {
  const { inventory, providers } = deps;
  return operation({
    name: "volume.delete",
    input: Type.Object({ volumeId: Type.String() }),
    check({ volumeId }) {
      const volume = inventory.require("volume", volumeId, { field: "volumeId" });
      providers.get(requireRunningPool(requirePoolOf(inventory, volume)).hostId);
      requireUnused(inventory, volume);
    },
    claims: ({ volumeId }) => ({ exclusive: [claimOf(inventory, volumeId)] }),
    target: ({ volumeId }) => volumeTarget(inventory, volumeId),
    steps: [
      {
        name: "look",
        async do({ input, signal }) {
          const volume = inventory.require("volume", input.volumeId, { field: "volumeId" });
          const { hostId, name: poolName } = requirePoolOf(inventory, volume);
          // Overlays made behind our back are known after the storage was read.
          await deps.hostSync.syncPool(hostId, poolName, { signal });
          requireUnused(inventory, volume);
          return { hostId, poolName, name: volume.name };
        },
      },
      {
        name: "delete",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const { hostId, poolName, name } = result<{ hostId: string; poolName: string; name: string }>("look");
          await providers.get(hostId).storage.volume.deleteVolume(poolName, name, { signal });
          await deps.hostSync.syncPool(hostId, poolName, { signal });
        },
      },
    ],
  });
}

function requireUnused(inventory: Inventory, volume: Volume): void {
  const users = volumeUsers(inventory, volume);
  if (users.length === 0) return;
  throw new AppError("conflict", `Volume ${volume.name} is used by ${describeUsers(users)}. Nothing was changed.`, {
    field: "volumeId",
    remedy: "Detach or delete what uses it first.",
  });
}
