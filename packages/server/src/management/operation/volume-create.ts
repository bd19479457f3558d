/** Creates a volume. */
import { Type } from "typebox";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { VolumeCreate } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import { requireRunningPool, volumeClaim } from "#management/pool/pool-lookup.ts";
import { operation, type StepContext } from "#management/task/operation.ts";
import { isFilePool } from "#management/vm/storage-reach.ts";
import type { OperationDeps } from "./deps.ts";

type Input = { request: VolumeCreate };

export function volumeCreate(deps: OperationDeps) {
  const { inventory, providers } = deps;
  /** Tasks of this process that found the name free: what is then in the way of their `create` is not theirs. */
  const foundFree = new Set<string>();
  const foreign = new Set<string>();
  const poolOf = ({ request }: Input): StoragePool =>
    inventory.require("storage-pool", request.poolId, { field: "poolId" });
  return operation({
    name: "volume.create",
    input: Type.Object({ request: VolumeCreate }),
    check(input) {
      checkVolumeCreate(requireRunningPool(poolOf(input)), input.request);
      providers.get(poolOf(input).hostId);
      const taken = inventory
        .by("volume", "poolId", input.request.poolId)
        .some((each) => each.name === input.request.name);
      if (taken) throw nameTaken(input.request.name, poolOf(input).name);
    },
    claims: (input) => ({ exclusive: [volumeClaim(poolOf(input), input.request.name)] }),
    target: () => undefined,
    steps: [
      {
        name: "look",
        async do({ input, signal, taskId }) {
          const { hostId, name: poolName } = poolOf(input);
          const { volume } = providers.get(hostId).storage;
          const existing = await volume.findVolume(poolName, input.request.name, { signal });
          if (existing !== undefined) throw nameTaken(input.request.name, poolName);
          foundFree.add(taskId);
          return { hostId, poolName };
        },
      },
      {
        name: "create",
        do: (context) => create(context),
        async undo({ input, resultIfAny, signal, taskId }) {
          const place = resultIfAny<Place>("look");
          if (place === undefined || foreign.delete(taskId)) return;
          await providers.get(place.hostId).storage.volume.deleteVolume(place.poolName, input.request.name, { signal });
          await deps.hostSync.syncPool(place.hostId, place.poolName, { signal });
        },
      },
      {
        name: "sync",
        async do({ input, result, signal, taskId }) {
          foundFree.delete(taskId);
          const { hostId, poolName } = result<Place>("look");
          await deps.hostSync.syncPool(hostId, poolName, { signal });
          const made = inventory
            .by("volume", "poolId", input.request.poolId)
            .find((each) => each.name === input.request.name);
          return { volumeId: made?.id, path: made?.path };
        },
      },
    ],
    outcome: ({ input, result }) => ({ ...result("sync"), name: input.request.name }),
  });

  async function create({ input, result, signal, taskId }: StepContext<Input>): Promise<void> {
    const { hostId, poolName } = result<Place>("look");
    const { volume } = providers.get(hostId).storage;
    const { name, format, capacityBytes, preallocate } = input.request;
    const definition = {
      poolName,
      name,
      format,
      capacityBytes,
      ...(preallocate === undefined ? {} : { preallocate }),
    };
    try {
      await volume.createVolume(definition, { signal });
    } catch (error) {
      if (!(error instanceof AppError && error.code === "name_taken")) throw error;
      if (foundFree.has(taskId)) {
        foreign.add(taskId);
        throw error;
      }
      // Resumed after a crash: the name was free when the task began, so this is what it had made, perhaps in part.
      await volume.deleteVolume(poolName, name, { signal });
      await volume.createVolume(definition, { signal });
    }
  }
}

interface Place {
  readonly hostId: string;
  readonly poolName: string;
}

function checkVolumeCreate(pool: StoragePool, request: VolumeCreate): void {
  if (request.format === "qcow2" && !isFilePool(pool)) {
    const message = `Pool ${pool.name} is of type ${pool.type}, whose volumes are raw.`;
    throw new AppError("invalid_field", message, { field: "format" });
  }
  if (request.preallocate === true && request.capacityBytes > pool.availableBytes) {
    const has = formatBytes(pool.availableBytes);
    const message = `Pool ${pool.name} has ${has} free, ${formatBytes(request.capacityBytes)} are to be preallocated.`;
    throw new AppError("disk_full", message, { field: "capacityBytes" });
  }
}

function nameTaken(name: string, poolName: string): AppError {
  const message = `There is already a volume ${JSON.stringify(name)} in pool ${poolName}.`;
  return new AppError("name_taken", message, { field: "name" });
}
