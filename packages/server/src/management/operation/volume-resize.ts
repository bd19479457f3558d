/** Grows a volume that no running VM has open and that nothing else reads. */
import { Type } from "typebox";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { VolumeResize } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import { requirePoolOf, requireRunningPool, volumeTarget } from "#management/pool/pool-lookup.ts";
import { volumeClaimOf } from "#management/pool/volume-claim.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { operation } from "#management/task/operation.ts";
import { describeUsers, volumeUsers } from "#management/volume/volume-user.ts";
import type { OperationDeps } from "./deps.ts";

export function volumeResize(deps: OperationDeps) {
  const { inventory, providers } = deps;
  return operation({
    name: "volume.resize",
    input: Type.Object({ volumeId: Type.String(), request: VolumeResize }),
    check({ volumeId, request }) {
      const volume = inventory.require("volume", volumeId, { field: "volumeId" });
      providers.get(requireRunningPool(requirePoolOf(inventory, volume)).hostId);
      if (request.capacityBytes < volume.capacityBytes) {
        const message = `Volumes only grow: ${volume.name} has ${volume.capacityBytes} bytes. Nothing was changed.`;
        throw new AppError("invalid_field", message, { field: "capacityBytes" });
      }
      requireGrowable(inventory, volume);
    },
    claims: ({ volumeId }) => ({ exclusive: [claimOf(inventory, volumeId)] }),
    target: ({ volumeId }) => volumeTarget(inventory, volumeId),
    steps: [
      {
        name: "resize",
        // Growing can't be taken back, and half of it does not exist.
        pointOfNoReturn: true,
        async do({ input, signal }) {
          const volume = inventory.require("volume", input.volumeId, { field: "volumeId" });
          const pool = requirePoolOf(inventory, volume);
          requireGrowable(inventory, volume);
          const { capacityBytes } = input.request;
          await providers
            .get(pool.hostId)
            .storage.volume.resizeVolume(pool.name, volume.name, capacityBytes, { signal });
          return { hostId: pool.hostId, poolName: pool.name };
        },
      },
      {
        name: "sync",
        async do({ result, signal }) {
          const { hostId, poolName } = result<{ hostId: string; poolName: string }>("resize");
          await deps.hostSync.syncPool(hostId, poolName, { signal });
        },
      },
    ],
    outcome: ({ input }) => ({ volumeId: input.volumeId, capacityBytes: input.request.capacityBytes }),
  });
}

export function claimOf(inventory: Inventory, volumeId: string): string {
  const volume = inventory.get("volume", volumeId);
  return (volume && volumeClaimOf(inventory, volume)) ?? `volume:${volumeId}`;
}

function requireGrowable(inventory: Inventory, volume: Volume): void {
  const users = volumeUsers(inventory, volume).filter((user) => user.running || user.kind !== "vm");
  if (users.length === 0) return;
  throw new AppError("conflict", `Volume ${volume.name} is used by ${describeUsers(users)}. Nothing was changed.`, {
    field: "volumeId",
    remedy:
      "Grow the disk of a running VM through the VM; what images, snapshots and overlays rest on must not change.",
  });
}
