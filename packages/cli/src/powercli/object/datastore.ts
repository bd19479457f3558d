/**
 * A storage pool as PowerCLI shows a datastore. A shared pool, which each of its hosts has under one name, is one datastore.
 * Facts: Datastore of VMware.VimAutomation.ViCore.Types.V1.DatastoreManagement, PowerCLI's table of it.
 */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { figure, gbOfBytes } from "#powercli/object/unit.ts";

interface DatastoreObject {
  readonly Name: string;
  readonly Id: string;
  readonly Type: string;
  readonly State: "Available" | "Unavailable";
  readonly FreeSpaceGB: number;
  readonly CapacityGB: number;
  readonly FreeSpaceMB: number;
  readonly CapacityMB: number;
  readonly Shared: boolean;
  readonly Path: string | null;
  /** Names of the hosts that reach it. */
  readonly VMHost: readonly string[];
}

/** One of each shared pool, with all of its hosts. */
export function datastoreObjects(
  pools: readonly StoragePool[],
  hostName: (id: string) => string,
): readonly DatastoreObject[] {
  const groups = Map.groupBy(pools, (pool) => (pool.shared ? `shared ${pool.name}` : pool.id));
  return [...groups.values()].flatMap((group) => {
    // Of one that is out of order on some host, what the others say.
    const pool = group.find(({ state }) => state === "running") ?? group[0];
    return pool === undefined ? [] : [datastoreObject(pool, group.map(({ hostId }) => hostName(hostId)).toSorted())];
  });
}

function datastoreObject(pool: StoragePool, hosts: readonly string[]): DatastoreObject {
  return {
    Name: pool.name,
    Id: pool.id,
    Type: pool.type,
    State: pool.state === "running" || pool.state === "degraded" ? "Available" : "Unavailable",
    FreeSpaceGB: gbOfBytes(pool.availableBytes),
    CapacityGB: gbOfBytes(pool.capacityBytes),
    FreeSpaceMB: gbOfBytes(pool.availableBytes * 1024),
    CapacityMB: gbOfBytes(pool.capacityBytes * 1024),
    Shared: pool.shared,
    Path: pool.path ?? null,
    VMHost: hosts,
  };
}

export const datastoreKind: ObjectKind<DatastoreObject> = {
  columns: [
    { name: "Name", value: (datastore) => datastore.Name },
    { name: "FreeSpaceGB", value: (datastore) => figure(datastore.FreeSpaceGB), right: true },
    { name: "CapacityGB", value: (datastore) => figure(datastore.CapacityGB), right: true },
    { name: "VMHost", value: (datastore) => datastore.VMHost.join(", "), extra: true },
    { name: "Type", value: (datastore) => datastore.Type, extra: true },
    { name: "State", value: (datastore) => datastore.State, extra: true },
    { name: "Id", value: (datastore) => datastore.Id, extra: true },
  ],
};
