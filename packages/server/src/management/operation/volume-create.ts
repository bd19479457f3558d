/**
 * Creates a volume. A volume has nothing that says who made it, so one of its name is only taken for what an interrupted
 * attempt made if it is exactly that, and has no data: what someone else made in its place is neither used nor removed.
 */
import { Type } from "typebox";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { VolumeCreate } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import { requireRunningPool, volumeClaim } from "#management/pool/pool-lookup.ts";
import { operation, type StepContext } from "#management/task/operation.ts";
import { isFilePool } from "#management/vm/storage-reach.ts";
import { ownVolume } from "#management/volume/volume-owner.ts";
import type { OperationDeps } from "./deps.ts";
import { removedMeanwhile } from "./removed-meanwhile.ts";

type Input = { request: VolumeCreate };

interface Place {
  readonly hostId: string;
  readonly poolName: string;
}

/** Whose the volume of that name is. */
interface Created {
  readonly owner: "task" | "foreign";
}

export function volumeCreate(deps: OperationDeps) {
  const { inventory, providers } = deps;
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
        name: "plan",
        async do({ input }) {
          const { hostId, name: poolName } = poolOf(input);
          return { hostId, poolName };
        },
      },
      {
        name: "create",
        do: async (context) => ({ owner: await create(deps, context) }),
        async undo({ input, resultIfAny, signal }) {
          const place = resultIfAny<Place>("plan");
          const created = resultIfAny<Created>("create");
          if (place === undefined || created?.owner === "foreign") return;
          const { hostId, poolName } = place;
          const { volume } = providers.get(hostId).storage;
          const wanted = { poolName, ...input.request };
          const known = { isMade: created !== undefined, asked: true };
          if ((await ownVolume(volume, wanted, known, { signal })) !== undefined) {
            await volume.deleteVolume(poolName, input.request.name, { signal });
          }
          await deps.hostSync.syncPool(hostId, poolName, { signal });
        },
      },
      {
        name: "sync",
        async do({ input, result, signal }) {
          const { hostId, poolName } = result<Place>("plan");
          await deps.hostSync.syncPool(hostId, poolName, { signal });
          if (result<Created>("create").owner === "foreign") throw nameTaken(input.request.name, poolName);
          const made = inventory
            .by("volume", "poolId", input.request.poolId)
            .find((each) => each.name === input.request.name);
          if (made === undefined) throw removedMeanwhile(`Volume ${input.request.name} of pool ${poolName}`);
          return { volumeId: made.id, path: made.path };
        },
      },
    ],
    outcome: ({ input, result }) => ({ ...result("sync"), name: input.request.name }),
  });
}

async function create(deps: OperationDeps, context: StepContext<Input>): Promise<Created["owner"]> {
  const { input, result, repeated, signal } = context;
  const { hostId, poolName } = result<Place>("plan");
  const { volume } = deps.providers.get(hostId).storage;
  const { name, format, capacityBytes, preallocate } = input.request;
  const definition = { poolName, name, format, capacityBytes, ...(preallocate === undefined ? {} : { preallocate }) };
  try {
    await volume.createVolume(definition, { signal });
    return "task";
  } catch (error) {
    if (!(error instanceof AppError && error.code === "name_taken")) throw error;
    if (!repeated) return "foreign";
    const own = await ownVolume(volume, definition, { isMade: false }, { signal });
    return own === undefined ? "foreign" : "task";
  }
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
