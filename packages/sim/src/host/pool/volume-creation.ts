// New volumes: empty, on top of another, or copied from one (libvirt 9.0 storageVolCreateXML, storageVolCreateXMLFrom and
// what they run: src/storage/storage_util.c).
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_SUPPORT,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_STORAGE_VOL_EXIST,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { type Clock, wait } from "#host/clock.ts";
import { type Owner, SimFile } from "#host/file/file.ts";
import { FileError } from "#host/file/file-error.ts";
import { CREATABLE, newImage } from "#host/file/image.ts";
import type { HostFiles } from "#host/file/host-files.ts";
import type { Qcow2 } from "#host/file/qcow2.ts";
import { backendOf } from "./backend.ts";
import type { Volume } from "./known-volume.ts";
import type { StoragePool } from "./pool.ts";
import { storageError, systemError, withFiles } from "./storage-error.ts";
import { parseVolume, type VolumeDefinition } from "./volume-definition.ts";

/** VIR_STORAGE_DEFAULT_VOL_PERM_MODE of storage_conf.h. */
const VOLUME_MODE = 0o600;
/** Disk that one cluster of a qcow2 image's second tables describes. */
const L2_TABLE_REACH = 536_870_912;

export function createVolume(pool: StoragePool, xml: string, isPreallocated: boolean): Volume {
  pool.requireActive();
  const definition = parseVolume(xml, { hasFormats: hasFormats(pool), isCopy: false });
  if (pool.volumes.has(definition.name)) throw storageError(VIR_ERR_STORAGE_VOL_EXIST, `'${definition.name}'`);
  const volume = announce(pool, definition);
  try {
    build(pool, volume, definition, isPreallocated);
  } catch (error) {
    pool.volumes.delete(volume.name);
    throw error;
  }
  pool.account(pool.allocationOf(volume));
  return volume;
}

export interface CopyOptions {
  readonly clock: Clock;
  readonly bytesPerS: number;
}

/** Takes as long as the source's data takes to be read and written. */
export async function copyVolume(
  pool: StoragePool,
  xml: string,
  from: { readonly pool: StoragePool; readonly name: string },
  { clock, bytesPerS }: CopyOptions,
): Promise<Volume> {
  pool.requireActive();
  const source = from.pool.requireVolume(from.name);
  const given = parseVolume(xml, { hasFormats: hasFormats(pool), isCopy: true });
  if (pool.volumes.has(given.name))
    throw storageError(VIR_ERR_INTERNAL_ERROR, `storage volume name '${given.name}' already in use.`);
  if (source.isBuilding)
    throw storageError(VIR_ERR_OPERATION_INVALID, `volume '${source.name}' is still being allocated.`);
  const file = withFiles(`cannot open volume '${source.path}'`, () => pool.files.file(source.path));
  const capacityBytes = Math.max(given.capacityBytes ?? 0, file.capacityBytes);
  const volume = announce(pool, { ...given, capacityBytes });
  const work = [pool, from.pool].filter((each, index, all) => all.indexOf(each) === index);
  for (const each of work) each.jobCount += 1;
  source.useCount += 1;
  volume.isBuilding = true;
  try {
    const copied = buildCopy(pool, volume, { ...given, capacityBytes }, source);
    await wait(clock, (copied.allocatedBytes / bytesPerS) * 1000);
  } catch (error) {
    pool.volumes.delete(volume.name);
    throw error;
  } finally {
    volume.isBuilding = false;
    source.useCount -= 1;
    for (const each of work) each.jobCount -= 1;
  }
  // The host has lost its power meanwhile: the file is there, and the next start of its pool finds it.
  if (pool.volumes.get(volume.name) !== volume)
    throw storageError(VIR_ERR_INTERNAL_ERROR, "Child process (qemu-img convert) unexpected fatal signal 9");
  pool.account(pool.allocationOf(volume));
  return volume;
}

function hasFormats(pool: StoragePool): boolean {
  return backendOf(pool.definition).volumeType === "file";
}

/** The volume is known from now on, with a name that its storage can have. */
function announce(pool: StoragePool, { name, format, backing }: VolumeDefinition): Volume {
  if (name.includes("/")) throw storageError(VIR_ERR_OPERATION_INVALID, `volume name '${name}' cannot contain '/'`);
  const path = `${pool.definition.targetPath}/${name}`;
  if (pool.files.find(path) !== undefined)
    throw storageError(VIR_ERR_OPERATION_INVALID, `volume target path '${path}' already exists`);
  const volume: Volume = { name, path, format, isProbed: false, backing, useCount: 0, isBuilding: false };
  pool.volumes.set(name, volume);
  return volume;
}

function build(pool: StoragePool, { path }: Volume, definition: VolumeDefinition, isPreallocated: boolean): void {
  const { files } = pool;
  const { format, backing } = definition;
  const owner = ownerOf(definition);
  if (!hasFormats(pool)) return void buildRaw(files, path, owner, definition, true);
  if (format === "dir") return withFiles(`failed to create ${path}`, () => files.makeFolder(path, owner));
  if (format === "raw") {
    if (isPreallocated)
      throw storageError(VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation is not supported for raw volumes");
    if (backing !== undefined) throw storageError(VIR_ERR_NO_SUPPORT, "backing storage not supported for raw volumes");
    return void buildRaw(files, path, owner, definition, false);
  }
  if (isPreallocated && format !== "qcow2")
    throw storageError(VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation only available with qcow2");
  if (isPreallocated && backing !== undefined)
    throw storageError(VIR_ERR_CONFIG_UNSUPPORTED, "metadata preallocation conflicts with backing store");
  const below = backing && backingFile(pool, backing.path);
  const capacityBytes = definition.capacityBytes ?? below?.capacityBytes ?? 0;
  const file = buildImage(files, path, owner, { ...definition, capacityBytes });
  if (!isPreallocated) return;
  const metadataBytes = Math.ceil(capacityBytes / L2_TABLE_REACH) * 65_536;
  orRemove(files, path, `cannot allocate ${capacityBytes} bytes in file '${path}'`, () =>
    file.preallocate(capacityBytes + metadataBytes),
  );
}

function buildRaw(
  files: HostFiles,
  path: string,
  owner: Owner,
  definition: VolumeDefinition,
  isBlock: boolean,
): SimFile {
  const { capacityBytes = 0, allocationBytes } = definition;
  const taken = isBlock ? capacityBytes : Math.min(allocationBytes ?? capacityBytes, capacityBytes);
  const file = withFiles(`Failed to create file '${path}'`, () => files.createRaw(path, owner));
  orRemove(files, path, `cannot extend file '${path}'`, () => file.truncate(capacityBytes, file.changedMs));
  orRemove(files, path, `cannot allocate ${taken} bytes in file '${path}'`, () => file.preallocate(taken));
  return file;
}

function buildImage(files: HostFiles, path: string, owner: Owner, definition: VolumeDefinition): SimFile {
  const { format, capacityBytes = 0, backing, compat, lazyRefcounts } = definition;
  if (!CREATABLE.includes(format)) throw qemuImgError(path, format, `Unknown file format '${format}'`);
  const image = newImage(format, capacityBytes, backing);
  const { qcow2 } = image;
  // libvirt asks qemu-img for the older one, unless told (storageBackendCreateQemuImgOpts).
  const version: Qcow2["compat"] = compat === "1.1" ? "1.1" : "0.10";
  const special = qcow2 && { ...qcow2, lazyRefcounts, compat: version };
  try {
    return files.createImage(path, owner, special === undefined ? image : { ...image, qcow2: special });
  } catch (error) {
    throw error instanceof FileError
      ? qemuImgError(path, format, `Could not create '${path}': ${error.message}`)
      : error;
  }
}

function qemuImgError(path: string, format: string, words: string): Error {
  const detail = `Child process (/usr/bin/qemu-img create -f ${format} ${path}) unexpected exit status 1: qemu-img: ${path}: ${words}\n`;
  return storageError(VIR_ERR_INTERNAL_ERROR, detail);
}

function backingFile(pool: StoragePool, path: string): SimFile {
  const absolute = path.startsWith("/") ? path : `${pool.definition.targetPath}/${path}`;
  return withFiles(`inaccessible backing store volume ${path}`, () => pool.files.file(absolute));
}

/** Same format: the bytes. Another: a disk of the same size and as much data, whose content is not kept. */
function buildCopy(pool: StoragePool, { path, format }: Volume, definition: VolumeDefinition, source: Volume): SimFile {
  const { files } = pool;
  const from = files.file(source.path);
  const owner = ownerOf(definition);
  const { capacityBytes = 0, backing } = definition;
  const isSameFormat = from.image.format === format && backing === undefined && from.image.backing === undefined;
  try {
    const file = isSameFormat
      ? files.copy(from, path, owner)
      : format === "raw"
        ? files.createRaw(path, owner, capacityBytes)
        : buildImage(files, path, owner, definition);
    if (!isSameFormat) file.preallocate(Math.min(dataBytes(files, source.path), capacityBytes));
    if (file.capacityBytes < capacityBytes && format === "raw") file.truncate(capacityBytes, file.changedMs);
    return file;
  } catch (error) {
    if (files.find(path) instanceof SimFile) files.remove(path);
    throw error instanceof FileError ? systemError(`failed writing to file '${path}'`, error) : error;
  }
}

/** What a guest wrote to a disk and the layers below it; the layers' own tables are not data. */
function dataBytes(files: HostFiles, path: string): number {
  const file = files.find(path);
  if (!(file instanceof SimFile)) return 0;
  const { format, backing } = file.image;
  const own = format === "raw" ? file.allocatedBytes : Math.max(file.guestBytes, file.allocatedBytes - 196_608);
  return own + (backing === undefined ? 0 : dataBytes(files, backing.path));
}

/** What does not get done leaves no file. */
function orRemove(files: HostFiles, path: string, words: string, work: () => void): void {
  try {
    withFiles(words, work);
  } catch (error) {
    files.remove(path);
    throw error;
  }
}

function ownerOf({ permissions }: VolumeDefinition): Owner {
  return { mode: permissions.mode ?? VOLUME_MODE, uid: permissions.uid ?? 0, gid: permissions.gid ?? 0 };
}
