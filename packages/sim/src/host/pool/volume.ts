// What is asked of a volume, and done to it (libvirt 9.0 storageVol* in src/storage/storage_driver.c; their work in
// src/storage/storage_util.c).
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_NO_STORAGE_VOL,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_OPERATION_UNSUPPORTED,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { SimFile } from "#host/file/file.ts";
import { Folder } from "#host/file/file-system.ts";
import { backendOf } from "./backend.ts";
import type { Volume } from "./known-volume.ts";
import type { StoragePool } from "./pool.ts";
import { storageError, withFiles } from "./storage-error.ts";
import type { VolumeState } from "./volume-definition.ts";

/** Looks at the file itself. */
export function volumeState(pool: StoragePool, volume: Volume): VolumeState {
  const { name, path } = volume;
  const type = backendOf(pool.definition).volumeType;
  const entry = pool.files.find(path);
  if (entry === undefined) throw storageError(VIR_ERR_NO_STORAGE_VOL, `no storage vol with matching path '${path}'`);
  const common = { name, path, key: path, owner: entry.owner, changedMs: entry.changedMs };
  if (entry instanceof Folder) {
    const empty = { capacityBytes: 0, allocationBytes: 0, physicalBytes: 0, qcow2: undefined, backing: undefined };
    return { ...common, ...empty, type: "dir", format: "dir" };
  }
  const qcow2 = volume.format === "qcow2" ? entry.image.qcow2 : undefined;
  return {
    ...common,
    type,
    format: type === "file" ? volume.format : undefined,
    capacityBytes: volume.format === "raw" ? entry.lengthBytes : entry.capacityBytes,
    allocationBytes: entry.allocatedBytes,
    physicalBytes: entry.lengthBytes,
    qcow2: volume.isProbed ? qcow2 : undefined,
    backing: volume.backing && backingState(pool, volume.backing),
  };
}

function backingState(pool: StoragePool, backing: NonNullable<Volume["backing"]>): VolumeState["backing"] {
  const entry = pool.files.find(backing.path);
  if (entry === undefined) return backing;
  return { ...backing, owner: entry.owner, changedMs: entry.changedMs };
}

/** Nobody else is at work on it. */
function requireFree({ name, useCount, isBuilding }: Volume): void {
  if (useCount > 0) throw storageError(VIR_ERR_OPERATION_INVALID, `volume '${name}' is still in use.`);
  requireBuilt({ name, isBuilding });
}

export function requireBuilt({ name, isBuilding }: Pick<Volume, "name" | "isBuilding">): void {
  if (isBuilding) throw storageError(VIR_ERR_OPERATION_INVALID, `volume '${name}' is still being allocated.`);
}

/** One that is gone already is forgotten. */
export function deleteVolume(pool: StoragePool, volume: Volume): void {
  requireFree(volume);
  const { path } = volume;
  const entry = pool.files.find(path);
  const allocatedBytes = pool.allocationOf(volume);
  const words = entry instanceof Folder ? `cannot remove directory '${path}'` : `cannot unlink file '${path}'`;
  if (entry !== undefined) withFiles(words, () => pool.files.remove(path));
  pool.account(-allocatedBytes);
  pool.volumes.delete(volume.name);
}

export interface Resize {
  readonly capacityBytes: number;
  readonly isDelta: boolean;
  readonly isShrink: boolean;
  readonly isAllocated: boolean;
}

export function resizeVolume(pool: StoragePool, volume: Volume, resize: Resize, nowMs: number): void {
  requireFree(volume);
  const { capacityBytes: present, allocationBytes } = volumeState(pool, volume);
  const sign = resize.isShrink ? -1 : 1;
  const capacityBytes = resize.isDelta ? Math.max(0, present + sign * resize.capacityBytes) : resize.capacityBytes;
  if (capacityBytes < allocationBytes)
    throw storageError(VIR_ERR_INVALID_ARG, "can't shrink capacity below existing allocation");
  if (capacityBytes < present && !resize.isShrink) {
    const detail = "Can't shrink capacity below current capacity unless shrink flag explicitly specified";
    throw storageError(VIR_ERR_INVALID_ARG, detail);
  }
  const grownBytes = resize.isAllocated ? capacityBytes - allocationBytes : 0;
  if (grownBytes > pool.space.availableBytes)
    throw storageError(VIR_ERR_OPERATION_FAILED, "Not enough space left in storage pool");
  if (resize.isAllocated && volume.format !== "raw")
    throw storageError(VIR_ERR_OPERATION_UNSUPPORTED, "preallocate is only supported for raw type volume");
  withFiles(`Failed to resize file '${volume.path}'`, () => {
    const file = pool.files.file(volume.path);
    file.resize(capacityBytes, nowMs);
    if (resize.isAllocated) file.preallocate(capacityBytes);
  });
  pool.account(grownBytes);
}

/** Zeros in place of what was there; an image is none any more. */
export function wipeVolume(pool: StoragePool, volume: Volume, nowMs: number): void {
  requireFree(volume);
  withFiles(`Failed to open storage volume with path '${volume.path}'`, () => pool.files.file(volume.path).wipe(nowMs));
  volume.format = "raw";
  volume.backing = undefined;
}

/** The file behind it, for a transfer. */
export function openVolume(pool: StoragePool, volume: Volume): SimFile {
  requireBuilt(volume);
  return withFiles(`Unable to open stream for '${volume.path}'`, () => pool.files.file(volume.path));
}

export function requireUnused(volume: Volume): void {
  requireFree(volume);
}
