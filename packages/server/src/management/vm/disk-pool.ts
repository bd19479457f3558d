/** In which pool of a host a new disk goes: the one that is asked for, else the roomiest that can hold it. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { VmDiskCreate } from "@innkeeper/contract/resource/vm-spec.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { refuse } from "./field-check.ts";

/** Pools whose volumes Innkeeper can create (libvirt 9.0 storage drivers with createVol). */
const creatableTypes: readonly string[] = ["dir", "fs", "netfs", "vstorage", "logical", "disk", "zfs"];

/** `field`: the disk in the request; empty when the request names one pool for all. */
export function choosePool(
  context: { readonly inventory: Inventory; readonly host: Host },
  request: Pick<VmDiskCreate, "pool">,
  field: string,
  suits: (pool: StoragePool) => boolean,
  preferred?: string,
): StoragePool {
  const { inventory, host } = context;
  const pools = inventory.byHost("storage-pool", host.id);
  if (request.pool !== undefined) {
    const pool = pools.find((each) => each.name === request.pool || each.id === request.pool);
    const at = field === "" ? "pool" : `${field}.pool`;
    if (pool === undefined) return refuse(at, `Host ${host.name} has no storage pool ${request.pool}.`, "not_found");
    if (pool.state !== "running") {
      return refuse(at, `Pool ${pool.name} of host ${host.name} is ${pool.state}.`, "invalid_state");
    }
    if (!creatableTypes.includes(pool.type) || !suits(pool)) {
      return refuse(at, `Pool ${pool.name} is of type ${pool.type}, which can't hold such a disk.`, "unsupported");
    }
    return pool;
  }
  const rank = (pool: StoragePool): number[] => [
    pool.name === preferred ? 0 : 1,
    -pool.availableBytes,
    pool.shared ? 0 : 1,
  ];
  const [best] = pools
    .filter((pool) => pool.state === "running" && creatableTypes.includes(pool.type) && suits(pool))
    .toSorted((a, b) => compare(rank(a), rank(b)) || a.name.localeCompare(b.name));
  return (
    best ??
    refuse(
      field === "" ? "pool" : field,
      `Host ${host.name} has no running storage pool that can hold the disk.`,
      "unsupported",
    )
  );
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value - other;
  }
  return 0;
}

/** A disk may be larger than what is free (it is thin), but not than all that the pool could ever hold. */
export function requestedCapacity(pool: StoragePool, request: VmDiskCreate, field: string): number {
  const capacityBytes = request.capacityBytes ?? 0;
  if (capacityBytes <= pool.capacityBytes) return capacityBytes;
  return refuse(
    request.image !== undefined && request.capacityBytes === undefined ? `${field}.image` : `${field}.capacityBytes`,
    `Pool ${pool.name} has ${formatBytes(pool.capacityBytes)} in all; the disk needs ${formatBytes(capacityBytes)}.`,
    "insufficient_resources",
  );
}

/** disk_full if the pool has no room for what is copied into it now. What a thin disk may grow to is not counted. */
export function requireRoom(
  pool: Pick<StoragePool, "name" | "availableBytes">,
  neededBytes: number,
  what: string,
  field: string,
): void {
  if (neededBytes <= pool.availableBytes) return;
  const free = formatBytes(pool.availableBytes);
  const message = `Pool ${pool.name} has ${free} free; ${what} needs ${formatBytes(neededBytes)}.`;
  refuse(field, message, "disk_full", `Free space there, and have the pool read anew: inn pool refresh ${pool.name}`);
}
