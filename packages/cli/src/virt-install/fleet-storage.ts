/** The storage of the hosts that a VM can go to, asked from the server. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import type { ApiClient } from "#client.ts";
import { filterValue } from "#lookup.ts";
import { listAll } from "#list.ts";
import type { Storage, StoredPool, StoredVolume } from "./storage.ts";

interface HostPool extends StoredPool {
  readonly id: string;
  readonly hostId: string;
}

export function fleetStorage(api: ApiClient, hosts: readonly Host[]): Storage {
  const hostIds = new Set(hosts.map((host) => host.id));
  let known: Promise<readonly HostPool[]> | undefined;
  const pools = (): Promise<readonly HostPool[]> => {
    known ??= listAll(api, "poolList", {}).then(({ items }) => items.filter((pool) => hostIds.has(pool.hostId)));
    return known;
  };
  const stored = async (volumes: readonly Volume[]): Promise<StoredVolume | undefined> => {
    const all = await pools();
    for (const { poolId, path, format } of volumes) {
      const pool = all.find((each) => each.id === poolId);
      if (pool !== undefined) return { path, format, pool };
    }
    return undefined;
  };
  const volumes = async (filter: string): Promise<readonly Volume[]> =>
    (await api.page("volumeList", { filter, limit: 1000 })).items;
  return {
    pools,
    volumeAt: async (path) => await stored(await volumes(`path=${filterValue(path)}`)),
    volumeIn: async (poolName, name) => {
      const ids = (await pools()).filter((pool) => pool.name === poolName).map((pool) => pool.id);
      const named = await volumes(`name=${filterValue(name)}`);
      return await stored(named.filter((volume) => ids.includes(volume.poolId)));
    },
    volumesNamed: async (name) => {
      const all = await pools();
      const found = new Map<string, StoredVolume>();
      for (const { poolId, path, format } of await volumes(`name=${filterValue(name)}`)) {
        const pool = all.find((each) => each.id === poolId);
        if (pool !== undefined) found.set(`${pool.name} ${path}`, { path, format, pool });
      }
      return [...found.values()];
    },
    imageAt: async (path) => (await api.page("imageList", { filter: `path=${filterValue(path)}` })).items[0]?.name,
    hasImage: async (name) => (await api.page("imageList", { filter: `name=${filterValue(name)}` })).items.length > 0,
  };
}
