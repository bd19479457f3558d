/**
 * Where a path is: which pool of its host holds it, whether other hosts reach it, and under which path. Shared storage
 * is known by its pool: a pool that is `shared` is the same storage on every host that has a pool of its name.
 */
import path from "node:path/posix";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { AppError } from "#core/app-error.ts";
import type { Inventory } from "#management/inventory/inventory.ts";

/** Pools whose volumes are files in a folder (libvirt's storage drivers). */
const filePoolTypes: readonly string[] = ["dir", "fs", "netfs", "vstorage"];
/** Pools whose volumes are block devices of the host. */
const blockPoolTypes: readonly string[] = ["logical", "disk", "iscsi", "scsi", "mpath", "zfs"];

export function isFilePool(pool: StoragePool): boolean {
  return filePoolTypes.includes(pool.type);
}

/** How a domain names a volume of the pool: libvirt's disk type. */
export function sourceTypeIn(pool: StoragePool): "file" | "block" {
  if (isFilePool(pool)) return "file";
  if (blockPoolTypes.includes(pool.type)) return "block";
  throw new AppError("unsupported", `Disks in pools of type ${pool.type} are not supported (pool ${pool.name}).`);
}

/** The innermost pool of the host whose folder holds the path. */
export function poolOfPath(inventory: Inventory, hostId: string, volumePath: string): StoragePool | undefined {
  return inventory
    .byHost("storage-pool", hostId)
    .filter((pool) => pool.path !== undefined && isInside(pool.path, volumePath))
    .toSorted((a, b) => (b.path?.length ?? 0) - (a.path?.length ?? 0))[0];
}

/** The pool of a path, running; `what` names it in the refusal: `disk vda of VM web1`. */
export function requirePoolOfPath(inventory: Inventory, hostId: string, volumePath: string, what: string): StoragePool {
  const pool = poolOfPath(inventory, hostId, volumePath);
  const host = inventory.get("host", hostId)?.name ?? hostId;
  if (pool === undefined) {
    throw new AppError("unsupported", `${what} is ${volumePath}, which is in no storage pool of host ${host}.`, {
      remedy: `Create a pool for the folder: inn pool create --host ${host} --type dir --path ${path.dirname(volumePath)}`,
    });
  }
  if (pool.state !== "running") {
    throw new AppError("invalid_state", `${what} is in pool ${pool.name} of host ${host}, which is ${pool.state}.`);
  }
  return pool;
}

/** The name of a volume within its pool, from its path. */
export function volumeNameIn(pool: StoragePool, volumePath: string): string {
  return pool.path === undefined ? path.basename(volumePath) : path.relative(pool.path, volumePath);
}

/** The path by which `toHostId` reaches what `fromHostId` has at `volumePath`; undefined if it doesn't. */
export function pathOn(
  inventory: Inventory,
  fromHostId: string,
  toHostId: string,
  volumePath: string,
): string | undefined {
  if (fromHostId === toHostId) return volumePath;
  const pool = poolOfPath(inventory, fromHostId, volumePath);
  if (pool?.path === undefined || !pool.shared) return undefined;
  const there = sharedPeer(inventory, pool, toHostId);
  return there?.path === undefined ? undefined : path.join(there.path, path.relative(pool.path, volumePath));
}

/** The same storage's pool on another host. */
export function sharedPeer(inventory: Inventory, pool: StoragePool, hostId: string): StoragePool | undefined {
  if (pool.hostId === hostId) return pool;
  if (!pool.shared) return undefined;
  return inventory.byHost("storage-pool", hostId).find((other) => other.name === pool.name && other.shared);
}

function isInside(folder: string, file: string): boolean {
  const relative = path.relative(folder, file);
  return relative !== "" && !relative.startsWith("../") && relative !== ".." && !path.isAbsolute(relative);
}
