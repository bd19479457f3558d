/**
 * What an inventory that was read from its hosts alone still lacks: which pools are the same storage, and which volumes
 * are images. And what of a snapshot tree is not there any more.
 */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import type { Call } from "#core/call.ts";
import { setShared } from "#management/pool/pool-service.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { isFilePool, poolOfPath, volumeNameIn } from "#management/vm/storage-reach.ts";
import { readImageRecords } from "./image-record.ts";

type Deps = Pick<OperationDeps, "store" | "inventory" | "providers" | "log">;

/**
 * Declares pools shared that are so: of one name and size on several hosts, with the same volumes in them, and proved as
 * every such declaration is (a volume made on one host is seen on the others). Their names.
 */
export async function findSharedPools(deps: Deps, call: Call): Promise<string[]> {
  const { inventory, log } = deps;
  const found: string[] = [];
  for (const name of new Set(runningPools(deps).map((pool) => pool.name))) {
    const same = runningPools(deps).filter((pool) => pool.name === name);
    const [first, ...others] = same;
    if (first === undefined || others.length === 0 || same.every((pool) => pool.shared)) continue;
    if (!others.every((pool) => looksTheSame(deps, first, pool))) continue;
    await setShared(deps, inventory.require("storage-pool", first.id), true, call).then(
      () => found.push(name),
      (error: unknown) => log.info({ err: error, pool: name }, "pools of one name are not the same storage"),
    );
  }
  return found;
}

function runningPools({ inventory, providers }: Deps): StoragePool[] {
  const connected = new Set(providers.connectedHostIds());
  return inventory.list("storage-pool").filter((pool) => pool.state === "running" && connected.has(pool.hostId));
}

function looksTheSame({ inventory }: Deps, one: StoragePool, other: StoragePool): boolean {
  if (one.type !== other.type || one.capacityBytes !== other.capacityBytes) return false;
  const facts = (pool: StoragePool): string[] =>
    inventory
      .by("volume", "poolId", pool.id)
      .map(({ name, capacityBytes }: Volume) => `${name} ${capacityBytes}`)
      .toSorted();
  return facts(one).join("\n") === facts(other).join("\n");
}

/** Images by the records that lie beside them. How many. */
export async function findImages(deps: Deps, call: Call): Promise<number> {
  const { inventory, providers, store, log } = deps;
  let count = 0;
  for (const pool of runningPools(deps).filter(isFilePool)) {
    const { storage } = providers.get(pool.hostId);
    const records = await readImageRecords(storage, pool.name, call).catch((error: unknown) => {
      log.warn({ err: error, pool: pool.name }, "records of images could not be read");
      return [];
    });
    for (const record of records) {
      // Shared storage shows it on every host: it is one image, of the host it was of. Names are unique.
      const isKnown = inventory.get("image", record.id) !== undefined;
      if (isKnown || inventory.by("image", "name", record.name).length > 0) continue;
      const hostId = inventory.get("host", record.hostId) === undefined ? pool.hostId : record.hostId;
      await store.transaction((transaction) => transaction.put("image", { ...record, hostId }));
      count++;
    }
  }
  return count;
}

/** Snapshots that say of a layer what its pool, as it was just read, does not have; a sentence for each. */
export function missingLayers({ inventory, providers }: Deps): string[] {
  const connected = new Set(providers.connectedHostIds());
  return inventory.list("snapshot").flatMap((snapshot) => {
    const vm = inventory.get("vm", snapshot.vmId);
    if (vm === undefined || snapshot.source !== undefined || !connected.has(vm.hostId)) return [];
    const paths = [
      ...snapshot.disks.map((disk) => disk.path),
      ...(snapshot.memoryPath === undefined ? [] : [snapshot.memoryPath]),
    ];
    const missing = paths.filter((path) => {
      const pool = poolOfPath(inventory, vm.hostId, path);
      if (pool?.state !== "running") return false;
      const name = volumeNameIn(pool, path);
      return !inventory.by("volume", "poolId", pool.id).some((volume) => volume.name === name);
    });
    if (missing.length === 0) return [];
    return [`snapshot ${snapshot.name} of VM ${vm.name} can't be used: ${missing.join(", ")} is not there`];
  });
}
