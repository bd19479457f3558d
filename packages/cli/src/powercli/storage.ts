/** Datastores and files on them, as PowerCLI names them: a pool's name, and `[pool] name` for a volume in it. */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { tableError, valueError } from "#cli-error.ts";
import type { ApiClient } from "#client.ts";
import { listAll } from "#list.ts";
import { filterValue, find, isIdOf } from "#lookup.ts";

export interface Datastore {
  readonly name: string;
  /** The pools of this name; several of a shared one, or where each host has its own. */
  readonly pools: readonly StoragePool[];
}

/** By name in any case, id, or `host/name`. */
export async function datastoreOf(api: ApiClient, text: string, parameter: string): Promise<Datastore> {
  if (text.includes("/") || isIdOf("storage-pool", text)) {
    const pool = await find(api, "pool", text);
    return { name: pool.name, pools: [pool] };
  }
  const { items } = await listAll(api, "poolList", { filter: `name~${filterValue(text)}`, sort: "name" });
  const exact = items.filter(({ name }) => name === text);
  const pools = exact.length > 0 ? exact : items.filter(({ name }) => name.toLowerCase() === text.toLowerCase());
  const [first] = pools;
  if (first === undefined) {
    throw tableError("not_found", `there is no datastore "${text}"`, {
      field: parameter,
      remedy: "`inn Get-Datastore` shows what there is: each storage pool is one.",
    });
  }
  return { name: first.name, pools: pools.filter(({ name }) => name === first.name) };
}

/** A file by `[pool] name`, or a path of the host, which is taken as it is. */
export async function filePath(api: ApiClient, text: string, parameter: string, hostId?: string): Promise<string> {
  if (text.startsWith("/")) return text;
  const match = /^\[([^\]]+)\]\s*(.+)$/s.exec(text);
  if (match === null) {
    throw valueError(parameter, `"${text}" is no file`, "Write it as [datastore] name, or as a path of the host.");
  }
  const [, poolName = "", name = ""] = match;
  const { pools } = await datastoreOf(api, poolName, parameter);
  const { items } = await listAll(api, "volumeList", { filter: `name=${filterValue(name)}` });
  const here = items.filter(
    (volume) => pools.some(({ id }) => id === volume.poolId) && (hostId === undefined || volume.hostId === hostId),
  );
  const [volume] = here;
  if (volume === undefined) {
    throw tableError("not_found", `datastore ${poolName} has no file "${name}"`, {
      field: parameter,
      remedy: `\`inn volume list --filter name~${name.split(/[. ]/)[0] ?? ""}\` shows what there is.`,
    });
  }
  if (new Set(here.map(({ path }) => path)).size > 1) {
    throw tableError("conflict", `several hosts have ${text}`, { field: parameter, remedy: "Name the host: -VMHost." });
  }
  return volume.path;
}

/** The volumes of some paths of a host, with their pools. */
export async function volumesAt(
  api: ApiClient,
  hostId: string,
  paths: readonly string[],
): Promise<Map<string, { readonly volume: Volume; readonly pool: StoragePool }>> {
  const found = await Promise.all(
    paths.map(async (path) => {
      const filter = `hostId=${hostId} and path=${filterValue(path)}`;
      return (await api.page("volumeList", { filter, limit: 1 })).items;
    }),
  );
  const poolIds = new Set(found.flat().map(({ poolId }) => poolId));
  const pools = await Promise.all(
    [...poolIds].map(async (poolId) => await api.call("poolGet", { parameters: { poolId } })),
  );
  const byPath = new Map<string, { readonly volume: Volume; readonly pool: StoragePool }>();
  for (const volume of found.flat()) {
    const pool = pools.find(({ id }) => id === volume.poolId);
    if (pool !== undefined) byPath.set(volume.path, { volume, pool });
  }
  return byPath;
}
