// Volumes of storage pools, and their content (libvirt 9.0 storageVol* in src/storage/storage_driver.c).
import {
  VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA,
  VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM,
  VIR_STORAGE_VOL_GET_PHYSICAL,
  VIR_STORAGE_VOL_RESIZE_ALLOCATE,
  VIR_STORAGE_VOL_RESIZE_DELTA,
  VIR_STORAGE_VOL_RESIZE_SHRINK,
  VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
  VIR_STORAGE_VOL_WIPE_ALG_TRIM,
} from "@innkeeper/libvirt/generated/storage-constant.ts";
import { VIR_ERR_INVALID_ARG, VIR_ERR_NO_STORAGE_VOL } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { sanitizePath } from "#host/file/host-files.ts";
import type { Volume } from "#host/pool/known-volume.ts";
import type { StoragePool } from "#host/pool/pool.ts";
import { storageError } from "#host/pool/storage-error.ts";
import { copyVolume, createVolume } from "#host/pool/volume-creation.ts";
import { formatVolume, VOLUME_TYPES } from "#host/pool/volume-definition.ts";
import { download, upload } from "#host/pool/volume-transfer.ts";
import { deleteVolume, openVolume, requireUnused, resizeVolume, volumeState, wipeVolume } from "#host/pool/volume.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";

interface VolumeHandle {
  readonly pool: string;
  readonly name: string;
  readonly key: string;
}

const handleOf = (pool: StoragePool, { name, path }: Volume): VolumeHandle => ({ pool: pool.name, name, key: path });

function found(host: SimHost, { vol }: { readonly vol: VolumeHandle }): [StoragePool, Volume] {
  const pool = host.pools.byName(vol.pool);
  return [pool, pool.requireVolume(vol.name)];
}

const poolOf = (
  host: SimHost,
  { pool }: { readonly pool: { readonly name: string; readonly uuid: string } },
): StoragePool => host.pools.byUuid(pool.uuid, pool.name);

/** Among the running pools; a file's key is its path. */
function byPath(host: SimHost, path: string, words: string): VolumeHandle {
  for (const pool of host.pools.all) {
    for (const volume of pool.volumes.values()) if (volume.path === path) return handleOf(pool, volume);
  }
  throw storageError(VIR_ERR_NO_STORAGE_VOL, words);
}

function info(host: SimHost, args: { readonly vol: VolumeHandle; readonly flags?: number }) {
  const { type, capacityBytes, allocationBytes, physicalBytes } = volumeState(...found(host, args));
  const isPhysical = ((args.flags ?? 0) & VIR_STORAGE_VOL_GET_PHYSICAL) !== 0;
  return {
    type: VOLUME_TYPES.indexOf(type),
    capacity: BigInt(capacityBytes),
    allocation: BigInt(isPhysical ? physicalBytes : allocationBytes),
  };
}

function wipe(host: SimHost, args: { readonly vol: VolumeHandle }, algorithm = 0): void {
  if (algorithm > VIR_STORAGE_VOL_WIPE_ALG_TRIM)
    throw storageError(VIR_ERR_INVALID_ARG, `wiping algorithm ${algorithm} not supported`);
  wipeVolume(...found(host, args), host.clock.nowMs());
}

const has = (flags: number | undefined, flag: number): boolean => ((flags ?? 0) & flag) !== 0;

export const storageVolumeProcedures: Procedures = {
  remote: {
    storagePoolNumOfVolumes: (host, args) => {
      const pool = poolOf(host, args);
      pool.requireActive();
      return { num: pool.volumes.size };
    },
    storagePoolListVolumes: (host, args) => {
      const pool = poolOf(host, args);
      pool.requireActive();
      return { names: [...pool.volumes.keys()].slice(0, args.maxnames) };
    },
    storagePoolListAllVolumes: (host, args) => {
      const pool = poolOf(host, args);
      pool.requireActive();
      const vols = args.needResults === 0 ? [] : [...pool.volumes.values()].map((volume) => handleOf(pool, volume));
      return { vols, ret: pool.volumes.size };
    },
    storageVolLookupByName: (host, args) => {
      const pool = poolOf(host, args);
      return { vol: handleOf(pool, pool.requireVolume(args.name)) };
    },
    storageVolLookupByKey: (host, { key }) => ({
      vol: byPath(host, key, `no storage vol with matching key ${key}`),
    }),
    storageVolLookupByPath: (host, { path }) => {
      const clean = sanitizePath(path);
      const who = path === clean ? `'${path}'` : `'${path}' (${clean})`;
      return { vol: byPath(host, clean, `no storage vol with matching path ${who}`) };
    },
    storageVolCreateXml: (host, args) => {
      const pool = poolOf(host, args);
      const isPreallocated = has(args.flags, VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA);
      return { vol: handleOf(pool, createVolume(pool, args.xml, isPreallocated)) };
    },
    storageVolCreateXmlFrom: async (host, args) => {
      const pool = poolOf(host, args);
      const from = { pool: host.pools.byName(args.clonevol.pool), name: args.clonevol.name };
      const options = { clock: host.clock, bytesPerS: host.pools.copyBytesPerS };
      return { vol: handleOf(pool, await copyVolume(pool, args.xml, from, options)) };
    },
    storageVolDelete: (host, args) => deleteVolume(...found(host, args)),
    storageVolWipe: (host, args) => wipe(host, args),
    storageVolWipePattern: (host, args) => wipe(host, args, args.algorithm),
    storageVolResize: (host, { vol, capacity, flags }) => {
      const resize = {
        capacityBytes: Number(capacity),
        isAllocated: has(flags, VIR_STORAGE_VOL_RESIZE_ALLOCATE),
        isDelta: has(flags, VIR_STORAGE_VOL_RESIZE_DELTA),
        isShrink: has(flags, VIR_STORAGE_VOL_RESIZE_SHRINK),
      };
      resizeVolume(...found(host, { vol }), resize, host.clock.nowMs());
    },
    storageVolGetInfo: info,
    storageVolGetInfoFlags: info,
    storageVolGetXmlDesc: (host, args) => ({ xml: formatVolume(volumeState(...found(host, args))) }),
    storageVolGetPath: (host, args) => ({ name: found(host, args)[1].path }),
  },
  streams: {
    storageVolDownload: (host, { vol, offset, length, flags }) => {
      const file = openVolume(...found(host, { vol }));
      const isSparse = has(flags, VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM);
      const range = { offset: Number(offset), length: Number(length), isSparse };
      return { result: undefined, run: (stream) => download(file, range, stream) };
    },
    storageVolUpload: (host, { vol, offset, length, flags }) => {
      const [pool, volume] = found(host, { vol });
      requireUnused(volume);
      const file = openVolume(pool, volume);
      const isSparse = has(flags, VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM);
      const range = { offset: Number(offset), length: Number(length), isSparse };
      return {
        result: undefined,
        run: async (stream) => {
          try {
            await upload(file, volume.path, range, stream, host.clock);
          } finally {
            // The daemon looks at the pool again when the stream is closed, however it ended.
            host.pools.refreshIfIdle(pool);
          }
        },
      };
    },
  },
};
