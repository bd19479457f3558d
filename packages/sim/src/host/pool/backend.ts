// Where pools of each type have their volumes (libvirt 9.0 src/storage/storage_backend_fs.c, storage_backend_logical.c,
// storage_util.c).
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_SUPPORT,
  VIR_FROM_NONE,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { Owner } from "#host/file/file.ts";
import { SimFile } from "#host/file/file.ts";
import { type FileSystem, Folder } from "#host/file/file-system.ts";
import type { HostFiles } from "#host/file/host-files.ts";
import type { Volume, VolumeMap } from "./known-volume.ts";
import type { Permissions, PoolDefinition, PoolSpace } from "./pool-definition.ts";

import { storageError, withFiles } from "./storage-error.ts";

export interface PoolReading {
  readonly volumes: VolumeMap;
  readonly space: PoolSpace;
  readonly permissions?: Permissions;
}

export interface Backend {
  readonly volumeType: "file" | "block";
  build(pool: PoolDefinition, files: HostFiles): void;
  start(pool: PoolDefinition, files: HostFiles): void;
  stop(pool: PoolDefinition, files: HostFiles): void;
  delete(pool: PoolDefinition, files: HostFiles): void;
  read(pool: PoolDefinition, files: HostFiles): PoolReading;
}

/** VIR_STORAGE_DEFAULT_POOL_PERM_MODE of storage_conf.h. */
const POOL_MODE = 0o711;

const nothing = (): void => undefined;

function buildFolder({ targetPath, permissions }: PoolDefinition, files: HostFiles): void {
  const owner: Owner = {
    mode: permissions.mode ?? POOL_MODE,
    uid: permissions.uid ?? 0,
    gid: permissions.gid ?? 0,
  };
  withFiles(`failed to create directory '${targetPath}'`, () => files.makeFolder(targetPath, owner));
}

function deleteFolder({ targetPath }: PoolDefinition, files: HostFiles): void {
  withFiles(`failed to remove pool '${targetPath}'`, () => files.remove(targetPath));
}

function readFolder({ targetPath }: PoolDefinition, files: HostFiles): PoolReading {
  const folder = withFiles(`cannot open directory '${targetPath}'`, () => files.folder(targetPath), VIR_FROM_NONE);
  const volumes: VolumeMap = new Map();
  for (const [name, entry] of folder.entries) {
    // Other users' files may have names that XML can't hold: libvirt skips them.
    // oxlint-disable-next-line no-control-regex
    if (!/[\0-\x1f\x7f]/u.test(name)) volumes.set(name, found(`${targetPath}/${name}`, name, entry, files));
  }
  return { volumes, space: spaceOf(files.fileSystemOf(targetPath)), permissions: folder.owner };
}

function found(path: string, name: string, entry: Folder | SimFile, files: HostFiles): Volume {
  const known = { path, name, isProbed: true, useCount: 0, isBuilding: false };
  if (entry instanceof Folder) return { ...known, format: "dir", backing: undefined };
  const { format, backing } = entry.image;
  return { ...known, format, backing: backing && located(backing, path, files) };
}

/** A layer may name the one below relative to itself, and not say of what format that is. */
function located(
  { path, format }: { readonly path: string; readonly format?: string },
  above: string,
  files: HostFiles,
): { readonly path: string; readonly format: string } {
  const absolute = path.startsWith("/") ? path : `${above.slice(0, above.lastIndexOf("/"))}/${path}`;
  if (format !== undefined) return { path: absolute, format };
  const entry = files.find(absolute);
  return { path: absolute, format: entry instanceof SimFile ? entry.image.format : "raw" };
}

export function spaceOf(fileSystem: FileSystem): PoolSpace {
  const { capacityBytes, availableBytes } = fileSystem;
  return { capacityBytes, availableBytes, allocationBytes: capacityBytes - availableBytes };
}

const folder: Backend = {
  volumeType: "file",
  build: buildFolder,
  start: nothing,
  stop: nothing,
  delete: deleteFolder,
  read: readFolder,
};

/** Of a mounted file system: mount(8) says why not. */
function mount(pool: PoolDefinition, files: HostFiles): void {
  const { targetPath, source } = pool;
  if (files.isMounted(targetPath)) return;
  const what = source.dir === undefined ? (source.devices[0] ?? "") : `${source.hosts[0]?.name ?? ""}:${source.dir}`;
  const type = source.format === undefined || source.format === "auto" ? "" : `-t ${source.format} `;
  const refuse = (words: string): SimError =>
    new SimError(
      VIR_ERR_INTERNAL_ERROR,
      VIR_FROM_NONE,
      `Child process (/bin/mount ${type}-o nodev,nosuid,noexec ${what} ${targetPath}) unexpected exit status 32: mount: ${words}\n`,
    );
  if (!(files.find(targetPath) instanceof Folder))
    throw refuse(
      `${targetPath}: mount point does not exist.\n       dmesg(1) may have more information after failed mount system call.`,
    );
  const fileSystem = files.shared.fileSystem(what);
  if (fileSystem === undefined) throw refuse(`${targetPath}: special device ${what} does not exist.`);
  files.mount(targetPath, fileSystem);
}

const mounted: Backend = {
  ...folder,
  start: mount,
  stop: ({ targetPath }, files) => void files.unmount(targetPath),
};

/** A volume group is there or is not; its volumes are block devices below /dev. */
const logical: Backend = {
  volumeType: "block",
  build: ({ name }) => {
    throw storageError(VIR_ERR_NO_SUPPORT, `pool '${name}': volume groups are not made by a simulated host`);
  },
  start: ({ targetPath, source }, files) => {
    const group = source.name ?? "";
    const fileSystem = files.shared.fileSystem(`${files.hostName}:${group}`);
    if (fileSystem === undefined) {
      const detail = `Child process (/sbin/vgchange -aly ${group}) unexpected exit status 5:   Volume group "${group}" not found\n  Cannot process volume group ${group}\n`;
      throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_NONE, detail);
    }
    if (!files.isMounted(targetPath)) files.mount(targetPath, fileSystem);
  },
  stop: ({ targetPath }, files) => void files.unmount(targetPath),
  delete: ({ name }) => {
    throw storageError(VIR_ERR_NO_SUPPORT, `pool '${name}': volume groups are not removed by a simulated host`);
  },
  read: (pool, files) => ({ ...readFolder(pool, files), permissions: pool.permissions }),
};

const BACKENDS: Readonly<Record<string, Backend>> = { dir: folder, fs: mounted, netfs: mounted, logical };

export function backendOf({ type }: PoolDefinition): Backend {
  const backend = BACKENDS[type];
  if (backend === undefined) throw new TypeError(`no backend for ${type}`);
  return backend;
}
