/** Storage pools of one host, through libvirt. Facts: libvirt 9.0 include/libvirt/libvirt-storage.h. */
import type { Connection } from "@innkeeper/libvirt";
import { type StoragePoolState, storagePoolStates } from "@innkeeper/contract/resource/storage-pool.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { describeAll, orUndefined } from "#libvirt/lookup.ts";
import { isOwnPool, removeLeftPools } from "#libvirt/own-pool.ts";
import { type ConnectedCall, type LibvirtContext, longDeadlineMs, onConnection } from "#libvirt/session.ts";
import type { HostPool, PoolDefinition, PoolPort, PoolRef, StorageEvent } from "#storage/port.ts";
import { storagePoolChanges } from "./pool-event.ts";
import { poolXml, readPoolXml } from "./pool-xml.ts";

export type PoolHandle = Awaited<ReturnType<Connection["remote"]["storagePoolLookupByName"]>>["pool"];

export class LibvirtPool implements PoolPort {
  readonly #context: LibvirtContext;

  constructor(context: LibvirtContext) {
    this.#context = context;
  }

  listPools(call: Call): Promise<readonly HostPool[]> {
    return onConnection(this.#context, call, "list storage pools", async (connected) => {
      const { connection, options } = connected;
      const { pools } = await connection.remote.connectListAllStoragePools({ needResults: 1 }, options);
      return describeAll(
        pools.filter(({ name }) => !isOwnPool(name)),
        (pool) => describe(connected, pool),
      );
    });
  }

  async findPool(poolName: string, call: Call): Promise<HostPool | undefined> {
    if (isOwnPool(poolName)) return undefined;
    return onConnection(this.#context, call, `read storage pool ${poolName}`, (connected) =>
      orUndefined(lookUpPool(connected, poolName).then((pool) => describe(connected, pool))),
    );
  }

  async createPool(pool: PoolDefinition, call: Call): Promise<HostPool> {
    const what = `create storage pool ${pool.name}`;
    const definition = poolXml(pool);
    return onConnection(
      this.#context,
      call,
      what,
      async (connected) => {
        const { connection, options } = connected;
        const handle = await this.#define(connected, pool, definition);
        try {
          if ((await describe(connected, handle)).state === "inactive") {
            await connection.remote.storagePoolBuild({ pool: handle }, options);
            await connection.remote.storagePoolCreate({ pool: handle }, options);
          }
          const autostart = pool.autostart === false ? 0 : 1;
          await connection.remote.storagePoolSetAutostart({ pool: handle, autostart }, options);
          return await describe(connected, handle);
        } catch (error) {
          // Its folder stays: it may have been there before.
          await this.deletePool(pool, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
          throw error;
        }
      },
      longDeadlineMs,
    );
  }

  setAutostart(poolName: string, autostart: boolean, call: Call): Promise<void> {
    return onConnection(this.#context, call, `set autostart of storage pool ${poolName}`, async (connected) => {
      const pool = await lookUpPool(connected, poolName);
      await connected.connection.remote.storagePoolSetAutostart(
        { pool, autostart: autostart ? 1 : 0 },
        connected.options,
      );
    });
  }

  refreshPool(poolName: string, call: Call): Promise<HostPool> {
    return onConnection(
      this.#context,
      call,
      `refresh storage pool ${poolName}`,
      async (connected) => {
        const pool = await lookUpPool(connected, poolName);
        await refresh(this.#context, connected, pool);
        return describe(connected, pool);
      },
      longDeadlineMs,
    );
  }

  deletePool({ name, uuid }: PoolRef, call: Call): Promise<void> {
    return onConnection(
      this.#context,
      call,
      `delete storage pool ${name}`,
      async ({ connection, options }) => {
        try {
          const { pool } = await connection.remote.storagePoolLookupByUuid({ uuid }, options);
          const { active } = await connection.remote.storagePoolIsActive({ pool }, options);
          if (active === 1) await connection.remote.storagePoolDestroy({ pool }, options);
          await connection.remote.storagePoolUndefine({ pool }, options);
        } catch (error) {
          // A transient pool is gone with its end.
          if (!isNotFound(error)) throw error;
        }
      },
      longDeadlineMs,
    );
  }

  removeLeft(call: Call): Promise<number> {
    return onConnection(this.#context, call, "remove pools of ours that are left", async ({ connection, options }) => {
      const { removed } = await removeLeftPools(connection, options);
      return removed;
    });
  }

  events(signal: AbortSignal): AsyncIterable<StorageEvent> {
    return storagePoolChanges(this.#context, signal);
  }

  /** Takes up a definition that an interrupted attempt left. Everything else of that name is refused. */
  async #define(connected: ConnectedCall, { name, uuid }: PoolRef, definition: string): Promise<PoolHandle> {
    const { connection, options } = connected;
    const existing = await orUndefined(lookUpPool(connected, name));
    if (existing === undefined) {
      return (await connection.remote.storagePoolDefineXml({ xml: definition }, options)).pool;
    }
    if (existing.uuid === uuid) return existing;
    const { type, path } = await describe(connected, existing);
    throw new AppError("name_taken", `The host has a storage pool ${name} already (${type}, ${path ?? "no path"}).`, {
      field: "name",
    });
  }
}

export async function lookUpPool({ connection, options }: ConnectedCall, name: string): Promise<PoolHandle> {
  return (await connection.remote.storagePoolLookupByName({ name }, options)).pool;
}

/** How long a refresh waits for a pool in which volumes are being copied: libvirt refuses to refresh it meanwhile. */
const busyWaitMs = 5_000;

/** Reads the storage anew. conflict when the pool stays busy, unless meanwhile there is `enough` known without. */
export async function refresh(
  context: LibvirtContext,
  connected: ConnectedCall,
  pool: PoolHandle,
  enough: () => Promise<boolean> = async () => false,
): Promise<void> {
  const { connection, options } = connected;
  const end = context.clock.monotonicMs() + busyWaitMs;
  for (let delayMs = 50; ; delayMs *= 2) {
    try {
      await connection.remote.storagePoolRefresh({ pool }, options);
      return;
    } catch (error) {
      if (!isBusy(error)) throw error;
      if (await enough()) return;
      if (context.clock.monotonicMs() + delayMs > end) {
        throw new AppError("conflict", `Storage pool ${pool.name} is busy: volumes in it are being copied.`, {
          cause: error,
          retryable: true,
        });
      }
      await context.clock.sleep(delayMs, options.signal);
    }
  }
}

/** libvirt 9.0 storagePoolRefresh: "pool '%s' has asynchronous jobs running." */
function isBusy(error: unknown): boolean {
  return (
    error instanceof Error &&
    /asynchronous jobs running/.test(error.message) &&
    (isLibvirtCode(error, "VIR_ERR_INTERNAL_ERROR") || isLibvirtCode(error, "VIR_ERR_OPERATION_INVALID"))
  );
}

async function describe({ connection, options }: ConnectedCall, pool: PoolHandle): Promise<HostPool> {
  const [info, { xml }, { autostart }] = await Promise.all([
    connection.remote.storagePoolGetInfo({ pool }, options),
    connection.remote.storagePoolGetXmlDesc({ pool }, options),
    connection.remote.storagePoolGetAutostart({ pool }, options),
  ]);
  const { type, path, source, networkStorage } = readPoolXml(xml);
  return {
    name: pool.name,
    uuid: pool.uuid,
    type,
    state: poolState(info.state),
    ...(path === undefined ? {} : { path }),
    ...(source === undefined ? {} : { source }),
    networkStorage,
    autostart: autostart === 1,
    capacityBytes: Number(info.capacity),
    allocationBytes: Number(info.allocation),
    availableBytes: Number(info.available),
  };
}

/** virStoragePoolState: the contract's list is in its order. */
function poolState(state: number): StoragePoolState {
  return storagePoolStates[state] ?? "inaccessible";
}
