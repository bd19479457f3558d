/** What of a pool is changed at once: whether it is shared (which is proved), autostart; and reading it anew. */
import type { StoragePool, StoragePoolChange } from "@innkeeper/contract/resource/storage-pool.ts";
import { AppError } from "#core/app-error.ts";
import { checkRevision } from "#management/inventory/precondition.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Providers } from "#management/providers.ts";
import type { HostSync } from "#management/reconcile/host-sync.ts";
import type { Store } from "#store/port.ts";
import { requireRunningPool } from "./pool-lookup.ts";
import { proveShared } from "./shared-proof.ts";

interface PoolServiceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly providers: Providers;
  readonly hostSync: HostSync;
}

const changeDeadlineMs = 60_000;

export class PoolService {
  readonly #deps: PoolServiceDeps;

  constructor(deps: PoolServiceDeps) {
    this.#deps = deps;
  }

  async change(poolId: string, request: StoragePoolChange, context: ServiceContext): Promise<StoragePool> {
    const { inventory, store, providers, hostSync } = this.#deps;
    const pool = inventory.require("storage-pool", poolId, { field: "poolId" });
    if (context.ifRevision !== undefined) {
      await checkRevision(store, inventory, "storage-pool", pool.id, context.ifRevision);
    }
    const call = { signal: AbortSignal.any([context.signal, AbortSignal.timeout(changeDeadlineMs)]) };
    if (request.shared !== undefined) await setShared(this.#deps, pool, request.shared, call);
    if (request.autostart !== undefined) {
      await providers.get(pool.hostId).storage.pool.setAutostart(pool.name, request.autostart, call);
    }
    await hostSync.syncPool(pool.hostId, pool.name, call);
    return inventory.require("storage-pool", pool.id);
  }

  async refresh(poolId: string, context: ServiceContext): Promise<StoragePool> {
    const { inventory, hostSync } = this.#deps;
    const pool = inventory.require("storage-pool", poolId, { field: "poolId" });
    const call = { signal: AbortSignal.any([context.signal, AbortSignal.timeout(changeDeadlineMs)]) };
    const refreshed = await hostSync.syncPool(pool.hostId, pool.name, call);
    if (refreshed !== undefined) return refreshed;
    throw new AppError("not_found", `The host has no storage pool ${pool.name} any more.`, { field: "poolId" });
  }
}

/** Declares a pool shared on all hosts that have it, after proof; or not shared, on all. */
export async function setShared(
  deps: Pick<PoolServiceDeps, "store" | "inventory" | "providers">,
  pool: StoragePool,
  shared: boolean,
  call: { readonly signal: AbortSignal },
): Promise<void> {
  const peers = shared
    ? await proveShared(deps, requireRunningPool(pool), call)
    : deps.inventory.by("storage-pool", "name", pool.name).filter((peer) => peer.shared && peer.id !== pool.id);
  await deps.store.transaction(async (transaction) => {
    for (const { id } of [pool, ...peers]) {
      const present = await transaction.get("storage-pool", id);
      if (present !== undefined) await transaction.put("storage-pool", { ...present, shared });
    }
  });
}
