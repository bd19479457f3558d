/** Deletes an image and its volume, unless disks are linked to it. */
import { Type } from "typebox";
import type { Image } from "@innkeeper/contract/resource/image.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { imageClaim, volumeClaimOfPath } from "#management/pool/volume-claim.ts";
import { operation } from "#management/task/operation.ts";
import { describeUsers, volumeUsers } from "#management/volume/volume-user.ts";
import type { OperationDeps } from "./deps.ts";

interface Place {
  readonly hostId: string;
  readonly poolName: string;
  readonly volumeName: string;
}

export function imageDelete(deps: OperationDeps) {
  const { inventory, providers } = deps;
  return operation({
    name: "image.delete",
    input: Type.Object({ imageId: Type.String() }),
    check({ imageId }) {
      const image = inventory.require("image", imageId, { field: "imageId" });
      providers.get(image.hostId);
      requireUnused(inventory, image);
    },
    claims({ imageId }) {
      const image = inventory.require("image", imageId);
      const volume = volumeClaimOfPath(inventory, image.hostId, image.path);
      return { exclusive: [imageClaim(image.id), ...(volume === undefined ? [] : [volume])] };
    },
    target({ imageId }) {
      const image = inventory.get("image", imageId) ?? inventory.by("image", "name", imageId)[0];
      return image === undefined ? { kind: "image", id: imageId } : { kind: "image", id: image.id, name: image.name };
    },
    steps: [
      {
        name: "look",
        async do({ input, signal }) {
          const image = inventory.require("image", input.imageId, { field: "imageId" });
          await deps.hostSync.syncPool(image.hostId, image.poolName, { signal });
          requireUnused(inventory, image);
          const { hostId, poolName, volumeName } = image;
          return { hostId, poolName, volumeName };
        },
      },
      {
        name: "delete",
        pointOfNoReturn: true,
        async do({ input, result, signal }) {
          const { hostId, poolName, volumeName } = result<Place>("look");
          await providers.get(hostId).storage.volume.deleteVolume(poolName, volumeName, { signal });
          await deps.store.transaction((transaction) => transaction.delete("image", input.imageId));
          await deps.hostSync.syncPool(hostId, poolName, { signal });
        },
      },
    ],
  });
}

function requireUnused(inventory: Inventory, image: Image): void {
  const users = volumeUsers(inventory, image, image.id);
  if (users.length === 0) return;
  throw new AppError("conflict", `Image ${image.name} is used by ${describeUsers(users)}. Nothing was changed.`, {
    field: "imageId",
    remedy: "Delete what is linked to it, or make full copies of it, first.",
  });
}
