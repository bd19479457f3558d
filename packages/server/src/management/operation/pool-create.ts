/** Defines, builds and starts a storage pool on a host. */
import { randomUUID } from "node:crypto";
import { Type } from "typebox";
import { type StoragePool, StoragePoolCreate } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "#core/app-error.ts";
import { setShared } from "#management/pool/pool-service.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { operation } from "#management/task/operation.ts";
import type { OperationDeps } from "./deps.ts";
import { removedMeanwhile } from "./removed-meanwhile.ts";

interface Planned {
  readonly hostId: string;
  /** What the pool is known by from its first moment: by it ours is told from one that is made behind our back. */
  readonly uuid: string;
}

export function poolCreate(deps: OperationDeps) {
  const { inventory, providers } = deps;
  const hostOf = (request: StoragePoolCreate) => inventory.require("host", request.host, { field: "host" });
  return operation({
    name: "pool.create",
    input: Type.Object({ request: StoragePoolCreate }),
    check({ request }) {
      const host = hostOf(request);
      requireFreePlace(inventory, host, request);
      providers.get(host.id);
    },
    claims: ({ request }) => ({ exclusive: [`pool:${hostOf(request).id}:${request.name}`] }),
    target: () => undefined,
    steps: [
      {
        name: "plan",
        async do({ input, signal }) {
          const host = hostOf(input.request);
          const pools = await providers.get(host.id).storage.pool.listPools({ signal });
          // Made behind our back a moment ago: not ours to take up, nor to remove when we fail.
          if (pools.some((pool) => pool.name === input.request.name)) throw nameTaken(input.request.name, host.name);
          return { hostId: host.id, uuid: randomUUID() };
        },
      },
      {
        name: "create",
        async do({ input, result, signal }) {
          const { host: _host, shared: _shared, ...pool } = input.request;
          const { hostId, uuid } = result<Planned>("plan");
          await providers.get(hostId).storage.pool.createPool({ ...pool, uuid }, { signal });
        },
        async undo({ input, resultIfAny, signal }) {
          const planned = resultIfAny<Planned>("plan");
          if (planned === undefined) return;
          const { pool } = providers.get(planned.hostId).storage;
          await pool.deletePool({ name: input.request.name, uuid: planned.uuid }, { signal });
          await deps.hostSync.syncPool(planned.hostId, input.request.name, { signal });
        },
      },
      {
        name: "sync",
        async do({ input, result, signal }) {
          const { hostId, uuid } = result<Planned>("plan");
          const pool = await deps.hostSync.syncPool(hostId, input.request.name, { signal });
          if (pool?.uuid !== uuid) throw removedMeanwhile(`Storage pool ${input.request.name}`);
          return { poolId: pool.id };
        },
      },
      {
        name: "prove-shared",
        async do({ input, result, signal }) {
          if (input.request.shared !== true) return;
          const { poolId } = result<{ poolId: StoragePool["id"] }>("sync");
          await setShared(deps, inventory.require("storage-pool", poolId), true, { signal });
        },
        // Its probe, if a crash left one, goes while the pool is there.
        async undo({ input, resultIfAny, signal }) {
          const planned = resultIfAny<Planned>("plan");
          if (planned === undefined || input.request.shared !== true) return;
          await deps.hostSync.syncPool(planned.hostId, input.request.name, { signal });
        },
      },
    ],
    outcome: ({ input, result }) => ({ ...result("sync"), name: input.request.name }),
  });
}

function requireFreePlace(inventory: Inventory, host: Host, request: StoragePoolCreate): void {
  const pools = inventory.byHost("storage-pool", host.id);
  const named = pools.find((pool) => pool.name === request.name);
  if (named !== undefined) throw nameTaken(request.name, host.name);
  const placed = pools.find((pool) => pool.path === request.path);
  if (placed !== undefined) {
    const message = `Storage pool ${placed.name} of host ${host.name} has ${request.path} already.`;
    throw new AppError("conflict", message, { field: "path" });
  }
}

function nameTaken(name: string, hostName: string): AppError {
  const message = `There is already a storage pool ${JSON.stringify(name)} on host ${hostName}.`;
  return new AppError("name_taken", message, { field: "name" });
}
