/**
 * Storage: pools and volumes of one host. Pools and volumes are named as libvirt names them.
 * AppErrors: not_found, name_taken, disk_full, invalid_field, conflict, unsupported, host_unreachable, host_failed, timeout.
 */
import type { StoragePool, StoragePoolCreate } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import type { Call, LongCall } from "#core/call.ts";

/** A pool as its host has it; `shared` is management's knowledge, except where the type says it (netfs, rbd, iscsi …). */
export type HostPool = Omit<StoragePool, "id" | "revision" | "hostId" | "shared"> & {
  readonly networkStorage: boolean;
};
export type HostVolume = Omit<Volume, "id" | "revision" | "hostId" | "poolId"> & { readonly poolName: string };

/** The UUID is what a pool is known by: its name may come to mean another. */
export interface PoolRef {
  readonly name: string;
  readonly uuid: string;
}
export type PoolDefinition = Omit<StoragePoolCreate, "host" | "shared"> & PoolRef;

export interface VolumeDefinition {
  readonly poolName: string;
  readonly name: string;
  readonly format: "raw" | "qcow2";
  readonly capacityBytes: number;
  readonly preallocate?: boolean;
  /** Makes it an overlay on this layer. */
  readonly backing?: { readonly path: string; readonly format: string };
}

export interface StorageEvent {
  readonly poolName: string;
  readonly type: string;
}

export interface PoolPort {
  /** Without those that the drivers make for a moment. */
  listPools(call: Call): Promise<readonly HostPool[]>;
  /** undefined if there is none. */
  findPool(poolName: string, call: Call): Promise<HostPool | undefined>;
  /** Idempotent: what an interrupted attempt left under the UUID is taken up. name_taken if the name is another's. */
  createPool(pool: PoolDefinition, call: Call): Promise<HostPool>;
  setAutostart(poolName: string, autostart: boolean, call: Call): Promise<void>;
  /** Reads its volumes anew; starts nothing. */
  refreshPool(poolName: string, call: Call): Promise<HostPool>;
  /** Stops and undefines; volumes stay. Idempotent. */
  deletePool(pool: PoolRef, call: Call): Promise<void>;
  /** Takes away what a crash or a lost connection left of pools that the drivers make for a moment. How many there were. */
  removeLeft(call: Call): Promise<number>;
  events(signal: AbortSignal): AsyncIterable<StorageEvent>;
}

export interface VolumePort {
  /** Those of `known` that are still there are not read again. */
  listVolumes(poolName: string, call: Call, known?: readonly HostVolume[]): Promise<readonly HostVolume[]>;
  /**
   * undefined if there is none; looks on the storage itself, not in libvirt's cache. One that can't be read is an error;
   * conflict (retryable) while the pool is too busy with copies to tell whether there is one.
   */
  findVolume(poolName: string, name: string, call: Call): Promise<HostVolume | undefined>;
  findVolumeByPath(path: string, call: Call): Promise<HostVolume | undefined>;
  /** When it was last written to, in the storage's own words; undefined where it does not tell. */
  writtenAt(poolName: string, name: string, call: Call): Promise<string | undefined>;
  /** name_taken if it exists. */
  createVolume(volume: VolumeDefinition, call: Call): Promise<HostVolume>;
  /** A full copy within the host, of a volume that may be in another pool. */
  cloneVolume(
    source: { readonly poolName: string; readonly name: string },
    target: VolumeDefinition,
    call: LongCall,
  ): Promise<HostVolume>;
  /**
   * Idempotent: gone is fine. conflict while it is still being allocated or copied, or its pool is too busy with copies
   * to tell whether it is there: the end of that is for the caller to await.
   */
  deleteVolume(poolName: string, name: string, call: Call): Promise<void>;
  resizeVolume(poolName: string, name: string, capacityBytes: number, call: Call): Promise<void>;
  /** Writes from the start; content must have exactly `sizeBytes`. */
  upload(
    poolName: string,
    name: string,
    content: ReadableStream<Uint8Array>,
    sizeBytes: number,
    call: LongCall,
  ): Promise<void>;
  /** Bytes of the file as it is (of a qcow2 volume, of the qcow2 file); fewer than `length` at its end. */
  read(
    poolName: string,
    name: string,
    range: { readonly offset: number; readonly length: number },
    call: Call,
  ): Promise<Uint8Array>;
  /** How long the file is that `read` reads. */
  fileBytes(poolName: string, name: string, call: Call): Promise<number>;
  download(
    poolName: string,
    name: string,
    call: Call,
  ): Promise<{ readonly content: ReadableStream<Uint8Array>; readonly sizeBytes: number }>;
}

export interface HostStorage {
  readonly pool: PoolPort;
  readonly volume: VolumePort;
}
