// The storage pools of one host (libvirt 9.0 src/storage/storage_driver.c, src/conf/virstorageobj.c): who is who, what
// may be done when, and what others are told of it.
import {
  VIR_STORAGE_POOL_EVENT_CREATED,
  VIR_STORAGE_POOL_EVENT_DEFINED,
  VIR_STORAGE_POOL_EVENT_DELETED,
  VIR_STORAGE_POOL_EVENT_STARTED,
  VIR_STORAGE_POOL_EVENT_STOPPED,
  VIR_STORAGE_POOL_EVENT_UNDEFINED,
} from "@innkeeper/libvirt/generated/storage-constant.ts";
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_STORAGE_POOL,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { HostContext } from "#host/context.ts";
import { type HostFiles, sanitizePath } from "#host/file/host-files.ts";
import { parsePool, type PoolDefinition } from "./pool-definition.ts";
import { StoragePool } from "./pool.ts";
import { storageError } from "./storage-error.ts";

/** A copy reads and writes so much: a common SSD's. */
const COPY_BYTES_PER_S = 500_000_000;

export class StoragePools {
  readonly files: HostFiles;
  copyBytesPerS = COPY_BYTES_PER_S;
  readonly #context: HostContext;
  readonly #pools = new Map<string, StoragePool>();

  constructor(context: HostContext, files: HostFiles) {
    this.#context = context;
    this.files = files;
  }

  get all(): readonly StoragePool[] {
    return [...this.#pools.values()];
  }

  /** @param name as the client knows it, for the error. */
  byUuid(uuid: string, name?: string): StoragePool {
    const pool = this.#pools.get(uuid);
    if (pool !== undefined) return pool;
    const who = name === undefined ? `'${uuid}'` : `'${uuid}' (${name})`;
    throw storageError(VIR_ERR_NO_STORAGE_POOL, `no storage pool with matching uuid ${who}`);
  }

  byName(name: string): StoragePool {
    const pool = this.all.find((each) => each.name === name);
    if (pool !== undefined) return pool;
    throw storageError(VIR_ERR_NO_STORAGE_POOL, `no storage pool with matching name '${name}'`);
  }

  byTargetPath(path: string): StoragePool {
    const clean = sanitizePath(path);
    const pool = this.all.find((each) => each.isActive && each.definition.targetPath === clean);
    if (pool !== undefined) return pool;
    const who = path === clean ? `'${path}'` : `'${path}' (${clean})`;
    throw storageError(VIR_ERR_NO_STORAGE_POOL, `no storage pool with matching target path ${who}`);
  }

  define(xml: string): StoragePool {
    const definition = this.#parse(xml);
    const known = this.#known(definition, false);
    if (known !== undefined) {
      known.isPersistent = true;
      if (known.isActive) known.nextDefinition = definition;
      else {
        known.definition = definition;
        known.permissions = definition.permissions;
      }
    }
    const pool = known ?? this.#add(definition, true);
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_DEFINED);
    return pool;
  }

  /** A pool that is gone when it stops. */
  create(xml: string, build: boolean): StoragePool {
    const definition = this.#parse(xml);
    const known = this.#known(definition, true);
    const pool = known ?? this.#add(definition, false);
    if (known !== undefined) known.definition = definition;
    try {
      if (build) pool.build();
      pool.start();
    } catch (error) {
      this.#drop(pool);
      throw error;
    }
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_STARTED);
    return pool;
  }

  start(pool: StoragePool, build: boolean): void {
    this.#requireInactive(pool, "is already active");
    if (build) pool.build();
    pool.start();
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_STARTED);
  }

  build(pool: StoragePool): void {
    this.#requireInactive(pool, "is already active");
    pool.build();
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_CREATED);
  }

  destroy(pool: StoragePool): void {
    pool.requireActive();
    pool.requireIdle();
    pool.stop();
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_STOPPED);
    this.#drop(pool);
  }

  delete(pool: StoragePool): void {
    this.#requireInactive(pool, "is still active");
    pool.requireIdle();
    pool.delete();
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_DELETED);
  }

  undefine(pool: StoragePool): void {
    this.#requireInactive(pool, "is still active");
    pool.requireIdle();
    this.#pools.delete(pool.uuid);
    this.#tell(pool, VIR_STORAGE_POOL_EVENT_UNDEFINED);
  }

  refresh(pool: StoragePool): void {
    pool.requireActive();
    pool.requireIdle();
    try {
      pool.refresh();
    } catch (error) {
      this.#tell(pool, VIR_STORAGE_POOL_EVENT_STOPPED);
      this.#drop(pool);
      throw error;
    }
    this.tellRefreshed(pool);
  }

  /** After an upload; left out while something else is at work in the pool. */
  refreshIfIdle(pool: StoragePool): void {
    if (!pool.isActive || pool.jobCount > 0) return;
    try {
      pool.read();
    } catch {
      pool.stop();
    }
    this.tellRefreshed(pool);
  }

  setAutostart(pool: StoragePool, isAutostart: boolean): void {
    if (!pool.isPersistent) throw storageError(VIR_ERR_INTERNAL_ERROR, "pool has no config file");
    pool.isAutostart = isAutostart;
  }

  /** What the daemon does when the host has booted. */
  autostart(): void {
    for (const pool of this.all) if (pool.isAutostart && !pool.isActive) this.start(pool, false);
  }

  /** The machine loses its power: nobody is told. */
  powerOff(): void {
    for (const pool of this.all.filter(({ isActive }) => isActive)) {
      pool.stop();
      this.#drop(pool);
    }
  }

  tellRefreshed(pool: StoragePool): void {
    this.#context.events.storagePool("refresh", { pool: handleOf(pool) });
  }

  #parse(xml: string): PoolDefinition {
    return parsePool(xml, () => this.#context.random.uuid());
  }

  /** The pool that a definition is of, if there is one; refuses what would collide (virStoragePoolObjListAdd). */
  #known(definition: PoolDefinition, isStart: boolean): StoragePool | undefined {
    const { name, uuid } = definition;
    const rival = this.all.find(
      (each) => each.uuid !== uuid && each.name !== name && isSameSource(each.definition, definition),
    );
    if (rival !== undefined)
      throw storageError(VIR_ERR_OPERATION_FAILED, `Storage source conflict with pool: '${rival.name}'`);
    const known = this.#pools.get(uuid);
    if (known !== undefined && known.name !== name)
      throw storageError(VIR_ERR_OPERATION_FAILED, `pool '${known.name}' is already defined with uuid ${uuid}`);
    if (known !== undefined && isStart && known.isActive)
      throw storageError(VIR_ERR_OPERATION_INVALID, `pool is already active as '${known.name}'`);
    const namesake = this.all.find((each) => each.name === name && each.uuid !== uuid);
    if (namesake !== undefined)
      throw storageError(VIR_ERR_OPERATION_FAILED, `pool '${name}' already exists with uuid ${namesake.uuid}`);
    return known;
  }

  #add(definition: PoolDefinition, isPersistent: boolean): StoragePool {
    const pool = new StoragePool(definition, this.files, isPersistent);
    this.#pools.set(definition.uuid, pool);
    return pool;
  }

  #drop(pool: StoragePool): void {
    if (!pool.isPersistent) this.#pools.delete(pool.uuid);
  }

  #requireInactive(pool: StoragePool, words: string): void {
    if (pool.isActive) throw storageError(VIR_ERR_OPERATION_INVALID, `storage pool '${pool.name}' ${words}`);
  }

  #tell(pool: StoragePool, event: number): void {
    this.#context.events.storagePool("lifecycle", { pool: handleOf(pool), event, detail: 0 });
  }
}

export function handleOf({ name, uuid }: StoragePool): { readonly name: string; readonly uuid: string } {
  return { name, uuid };
}

/** virStoragePoolObjSourceFindDuplicateCb. */
function isSameSource(left: PoolDefinition, right: PoolDefinition): boolean {
  if (left.type !== right.type) return false;
  switch (left.type) {
    case "dir":
      return left.targetPath === right.targetPath;
    case "netfs":
      return left.source.dir === right.source.dir && left.source.hosts[0]?.name === right.source.hosts[0]?.name;
    case "logical":
      return left.source.name === right.source.name;
    default:
      return left.source.devices.some((device) => right.source.devices.includes(device));
  }
}
