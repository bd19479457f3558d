/**
 * Pools and volumes of a host → their documents. A volume's identity is its pool and its name: on shared storage there is
 * one document per host that sees it, each with an id that stays as long as the volume does. Volumes of a pool that isn't
 * running are kept as they were last seen.
 */
import { isDeepStrictEqual } from "node:util";
import type { HostId, StoragePoolId } from "@innkeeper/contract/id.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Call } from "#core/call.ts";
import { KeyedLock } from "#core/concurrency.ts";
import type { Draft, ResourceKind, StoreTransaction } from "#store/port.ts";
import type { HostPool, HostVolume } from "#storage/port.ts";
import { stableId } from "#management/inventory/stable-id.ts";
import { isLeftProbe, isProbe } from "#management/pool/shared-proof.ts";
import { isImageRecord } from "#management/recover/image-record.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { VolumeIds } from "./volume-id.ts";

interface ReadOptions {
  /** Reads the storage anew, which opens every image. */
  readonly refresh: boolean;
  /** Those of the volumes, by name, that are read also if they are known; default: all. */
  readonly changed?: ReadonlySet<string> | undefined;
}

export class StorageSync {
  readonly #deps: ReconcileDeps;
  readonly #lock = new KeyedLock();
  readonly #ids: VolumeIds;

  constructor(deps: ReconcileDeps) {
    this.#deps = deps;
    this.#ids = new VolumeIds(deps.clock);
  }

  /** All pools of a host and their volumes. Each is looked up at its turn: the others may have taken minutes. */
  async syncAll(hostId: string, { refresh }: Pick<ReadOptions, "refresh">, call: Call): Promise<void> {
    const { providers, inventory, log } = this.#deps;
    if (refresh) await this.#removeLeftPools(hostId, call);
    const listed = await providers.get(hostId).storage.pool.listPools(call);
    const names = new Set([...listed, ...inventory.byHost("storage-pool", hostId)].map(({ name }) => name));
    for (const name of names) {
      await this.syncPool(hostId, name, { refresh }, call).catch((error: unknown) => {
        // One broken pool (a server that is down) must not hide the others.
        call.signal.throwIfAborted();
        log.warn({ err: error, hostId, pool: name }, "storage pool could not be read");
      });
    }
  }

  /** One pool and its volumes; undefined (and its documents are gone) when the host has it no longer. */
  syncPool(
    hostId: string,
    poolName: string,
    { refresh, changed }: ReadOptions,
    call: Call,
  ): Promise<StoragePool | undefined> {
    return this.#lock.run(`${hostId} ${poolName}`, async () => {
      const pool =
        (refresh ? await this.#refresh(hostId, poolName, call) : undefined) ??
        (await this.#deps.providers.get(hostId).storage.pool.findPool(poolName, call));
      return pool === undefined ? this.#gone(hostId, poolName) : this.#read(hostId, pool, call, changed);
    });
  }

  async #read(
    hostId: string,
    pool: HostPool,
    call: Call,
    changed?: ReadonlySet<string>,
  ): Promise<StoragePool | undefined> {
    if (pool.state !== "running") return this.#write(hostId, pool, undefined);
    const known = changed === undefined ? [] : this.#volumesOf(hostId, pool).filter(({ name }) => !changed.has(name));
    const { volume } = this.#deps.providers.get(hostId).storage;
    const volumes = await volume.listVolumes(pool.name, call, known);
    await this.#removeLeftProbes(hostId, volumes, call);
    return this.#write(
      hostId,
      pool,
      volumes.filter(({ name }) => !isProbe(name)),
    );
  }

  async #removeLeftPools(hostId: string, call: Call): Promise<void> {
    const { providers, log } = this.#deps;
    try {
      const count = await providers.get(hostId).storage.pool.removeLeft(call);
      if (count > 0) log.info({ hostId, count }, "pools that an interrupted step left were removed");
    } catch (error) {
      call.signal.throwIfAborted();
      log.warn({ err: error, hostId }, "pools that an interrupted step left could not be removed");
    }
  }

  async #removeLeftProbes(hostId: string, volumes: readonly HostVolume[], call: Call): Promise<void> {
    const { providers, log } = this.#deps;
    for (const { poolName, name } of volumes.filter((volume) => isLeftProbe(volume.name))) {
      try {
        await providers.get(hostId).storage.volume.deleteVolume(poolName, name, call);
        log.info({ hostId, pool: poolName, volume: name }, "a probe that an interrupted proof left was removed");
      } catch (error) {
        call.signal.throwIfAborted();
        log.warn({ err: error, hostId, pool: poolName, volume: name }, "a left probe could not be removed");
      }
    }
  }

  /** As they were read last. */
  #volumesOf(hostId: string, pool: HostPool): HostVolume[] {
    const { inventory } = this.#deps;
    const document = inventory.byHost("storage-pool", hostId).find(({ uuid }) => uuid === pool.uuid);
    if (document === undefined) return [];
    return inventory
      .by("volume", "poolId", document.id)
      .map(({ id: _i, revision: _r, hostId: _h, poolId: _p, ...volume }) => ({ ...volume, poolName: pool.name }));
  }

  /** undefined when it can't be: busy with copies, off, gone, its server down. What libvirt knows is still right to show. */
  async #refresh(hostId: string, poolName: string, call: Call): Promise<HostPool | undefined> {
    try {
      return await this.#deps.providers.get(hostId).storage.pool.refreshPool(poolName, call);
    } catch (error) {
      call.signal.throwIfAborted();
      this.#deps.log.debug({ err: error, hostId, pool: poolName }, "storage pool could not be refreshed");
      return undefined;
    }
  }

  async #gone(hostId: string, poolName: string): Promise<undefined> {
    const { inventory, writes } = this.#deps;
    const pool = inventory.byHost("storage-pool", hostId).find((each) => each.name === poolName);
    if (pool !== undefined) await writes.run((transaction) => this.#forget(transaction, pool));
  }

  async #write(
    hostId: string,
    pool: HostPool,
    volumes: readonly HostVolume[] | undefined,
  ): Promise<StoragePool | undefined> {
    const { inventory, writes } = this.#deps;
    const known = inventory.byHost("storage-pool", hostId);
    const previous = known.find((each) => each.uuid === pool.uuid) ?? known.find((each) => each.name === pool.name);
    const id = previous?.id ?? stableId(inventory, "storage-pool", hostId, pool.uuid);
    const changes = [
      ...changeOf("storage-pool", poolDocument(pool, id, hostId as HostId, previous), previous),
      ...(volumes === undefined ? [] : this.#volumeChanges(hostId as HostId, id, volumes)),
    ];
    if (changes.length > 0) {
      await writes.run(async (transaction) => {
        if ((await transaction.get("host", hostId)) === undefined) return;
        for (const apply of changes) await apply(transaction);
      });
    }
    return inventory.get("storage-pool", id);
  }

  #volumeChanges(hostId: HostId, poolId: StoragePoolId, volumes: readonly HostVolume[]): Change[] {
    const known = new Map(this.#deps.inventory.by("volume", "poolId", poolId).map((volume) => [volume.name, volume]));
    const changes: Change[] = [];
    for (const { poolName: _, ...volume } of volumes) {
      if (isImageRecord(volume.name)) continue;
      const previous = known.get(volume.name);
      known.delete(volume.name);
      if (previous !== undefined)
        changes.push(...changeOf("volume", { ...volume, id: previous.id, poolId, hostId }, previous));
      else {
        changes.push(async (transaction) => {
          const id = await this.#ids.next(transaction, poolId, volume.name);
          return transaction.put("volume", { ...volume, id, poolId, hostId });
        });
      }
    }
    for (const gone of known.values()) changes.push((transaction) => this.#ids.retire(transaction, gone));
    return changes;
  }

  async #forget(transaction: StoreTransaction, pool: StoragePool): Promise<void> {
    for (const volume of this.#deps.inventory.by("volume", "poolId", pool.id)) {
      await transaction.delete("volume", volume.id);
    }
    await transaction.delete("storage-pool", pool.id);
  }
}

type Change = (transaction: StoreTransaction) => Promise<unknown>;

function poolDocument(
  pool: HostPool,
  id: StoragePoolId,
  hostId: HostId,
  previous: StoragePool | undefined,
): Draft<"storage-pool"> {
  const { networkStorage, ...rest } = pool;
  return { ...rest, id, hostId, shared: networkStorage || previous?.shared === true };
}

/** A write, unless nothing differs: an unchanged host costs no transaction. */
export function changeOf<K extends ResourceKind>(
  kind: K,
  draft: Draft<K>,
  previous: { readonly revision: number } | undefined,
): Change[] {
  const isSame =
    previous !== undefined && isDeepStrictEqual({ ...draft, revision: previous.revision }, { ...previous });
  return isSame ? [] : [(transaction) => transaction.put(kind, draft)];
}
