// Storage pools (libvirt 9.0 src/storage/storage_driver.c; filters of virStoragePoolObjListExport).
import {
  VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE,
  VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART,
  VIR_CONNECT_LIST_STORAGE_POOLS_DIR,
  VIR_CONNECT_LIST_STORAGE_POOLS_FS,
  VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE,
  VIR_CONNECT_LIST_STORAGE_POOLS_LOGICAL,
  VIR_CONNECT_LIST_STORAGE_POOLS_NETFS,
  VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART,
  VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT,
  VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT,
  VIR_STORAGE_POOL_CREATE_WITH_BUILD,
  VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE,
  VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE,
  VIR_STORAGE_POOL_INACTIVE,
  VIR_STORAGE_POOL_RUNNING,
  VIR_STORAGE_XML_INACTIVE,
} from "@innkeeper/libvirt/generated/storage-constant.ts";
import { VIR_ERR_INTERNAL_ERROR, VIR_ERR_NO_SUPPORT } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { checkBackendType, POOL_TYPES } from "#host/pool/pool-definition.ts";
import type { StoragePool } from "#host/pool/pool.ts";
import { storageError } from "#host/pool/storage-error.ts";
import { handleOf } from "#host/pool/storage-pools.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";

interface PoolArgs {
  readonly pool: { readonly name: string; readonly uuid: string };
}

const poolOf = (host: SimHost, { pool }: PoolArgs): StoragePool => host.pools.byUuid(pool.uuid, pool.name);

const BUILD =
  VIR_STORAGE_POOL_CREATE_WITH_BUILD |
  VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE |
  VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE;
const withBuild = (flags = 0): boolean => (flags & BUILD) !== 0;

/** Groups of flags of which one must be met, when any of the group is given. */
const FILTERS: readonly (readonly (readonly [flag: number, is: (pool: StoragePool) => boolean])[])[] = [
  [
    [VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE, (pool) => pool.isActive],
    [VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE, (pool) => !pool.isActive],
  ],
  [
    [VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT, (pool) => pool.isPersistent],
    [VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT, (pool) => !pool.isPersistent],
  ],
  [
    [VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART, (pool) => pool.isAutostart],
    [VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART, (pool) => !pool.isAutostart],
  ],
  [
    [VIR_CONNECT_LIST_STORAGE_POOLS_DIR, (pool) => pool.definition.type === "dir"],
    [VIR_CONNECT_LIST_STORAGE_POOLS_FS, (pool) => pool.definition.type === "fs"],
    [VIR_CONNECT_LIST_STORAGE_POOLS_NETFS, (pool) => pool.definition.type === "netfs"],
    [VIR_CONNECT_LIST_STORAGE_POOLS_LOGICAL, (pool) => pool.definition.type === "logical"],
  ],
];
const TYPE_FLAGS = 0xffff << 6;

function isWanted(pool: StoragePool, flags: number): boolean {
  const isOfKnownType = (flags & TYPE_FLAGS) === 0 || (FILTERS[3] ?? []).some(([flag]) => (flags & flag) !== 0);
  return (
    isOfKnownType &&
    FILTERS.every((group) => {
      const asked = group.filter(([flag]) => (flags & flag) !== 0);
      return asked.length === 0 || asked.some(([, is]) => is(pool));
    })
  );
}

export const storagePoolProcedures: Procedures = {
  remote: {
    connectListAllStoragePools: ({ pools }, { needResults, flags = 0 }) => {
      const wanted = pools.all.filter((pool) => isWanted(pool, flags)).map(handleOf);
      return { pools: needResults === 0 ? [] : wanted, ret: wanted.length };
    },
    connectNumOfStoragePools: ({ pools }) => ({ num: pools.all.filter((pool) => pool.isActive).length }),
    connectListStoragePools: ({ pools }, { maxnames }) => ({
      names: pools.all
        .filter((pool) => pool.isActive)
        .map((pool) => pool.name)
        .slice(0, maxnames),
    }),
    connectNumOfDefinedStoragePools: ({ pools }) => ({ num: pools.all.filter((pool) => !pool.isActive).length }),
    connectListDefinedStoragePools: ({ pools }, { maxnames }) => ({
      names: pools.all
        .filter((pool) => !pool.isActive)
        .map((pool) => pool.name)
        .slice(0, maxnames),
    }),
    connectFindStoragePoolSources: (_host, { type }) => {
      if (!POOL_TYPES.includes(type)) throw storageError(VIR_ERR_INTERNAL_ERROR, `unknown storage pool type ${type}`);
      checkBackendType(type);
      throw storageError(VIR_ERR_NO_SUPPORT, `pool type '${type}' does not support source discovery`);
    },
    storagePoolLookupByName: ({ pools }, { name }) => ({ pool: handleOf(pools.byName(name)) }),
    storagePoolLookupByUuid: ({ pools }, { uuid }) => ({ pool: handleOf(pools.byUuid(uuid)) }),
    storagePoolLookupByTargetPath: ({ pools }, { path }) => ({ pool: handleOf(pools.byTargetPath(path)) }),
    storagePoolLookupByVolume: ({ pools }, { vol }) => ({ pool: handleOf(pools.byName(vol.pool)) }),
    storagePoolDefineXml: ({ pools }, { xml }) => ({ pool: handleOf(pools.define(xml)) }),
    storagePoolCreateXml: ({ pools }, { xml, flags }) => ({ pool: handleOf(pools.create(xml, withBuild(flags))) }),
    storagePoolCreate: (host, args) => host.pools.start(poolOf(host, args), withBuild(args.flags)),
    storagePoolBuild: (host, args) => host.pools.build(poolOf(host, args)),
    storagePoolDestroy: (host, args) => host.pools.destroy(poolOf(host, args)),
    storagePoolDelete: (host, args) => host.pools.delete(poolOf(host, args)),
    storagePoolUndefine: (host, args) => host.pools.undefine(poolOf(host, args)),
    storagePoolRefresh: (host, args) => host.pools.refresh(poolOf(host, args)),
    storagePoolGetXmlDesc: (host, args) => ({
      xml: poolOf(host, args).xml(((args.flags ?? 0) & VIR_STORAGE_XML_INACTIVE) !== 0),
    }),
    storagePoolGetInfo: (host, args) => {
      const { isActive, space } = poolOf(host, args);
      return {
        state: isActive ? VIR_STORAGE_POOL_RUNNING : VIR_STORAGE_POOL_INACTIVE,
        capacity: BigInt(space.capacityBytes),
        allocation: BigInt(space.allocationBytes),
        available: BigInt(space.availableBytes),
      };
    },
    storagePoolGetAutostart: (host, args) => ({ autostart: poolOf(host, args).isAutostart ? 1 : 0 }),
    storagePoolSetAutostart: (host, args) => host.pools.setAutostart(poolOf(host, args), args.autostart !== 0),
    storagePoolIsActive: (host, args) => ({ active: poolOf(host, args).isActive ? 1 : 0 }),
    storagePoolIsPersistent: (host, args) => ({ persistent: poolOf(host, args).isPersistent ? 1 : 0 }),
  },
};
