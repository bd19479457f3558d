/** Get-Datastore: storage pools. */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { listAll, namesOf } from "#list.ts";
import { tableError } from "#cli-error.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { datastoreKind, datastoreObjects } from "#powercli/object/datastore.ts";
import { hostIdsOf, placesOf } from "#powercli/place.ts";
import { volumesAt } from "#powercli/storage.ts";
import { hasWildcard, unescaped, Wildcard } from "#powercli/wildcard.ts";

export const getDatastore: Cmdlet = {
  name: "Get-Datastore",
  summary: "List storage pools; a shared one is one datastore of several hosts.",
  operations: ["poolList", "poolRefresh"],
  parameters: [
    { name: "Name", list: true, position: 0, noun: "pool", help: "only these; with wildcards" },
    { name: "Id", list: true, help: "only these, by id" },
    {
      name: "VMHost",
      aliases: ["Location", "Host"],
      list: true,
      noun: "host",
      help: "only those of these hosts or clusters",
    },
    {
      name: "VM",
      list: true,
      noun: "vm",
      help: "only those with a disk of these VMs; `-` takes VMs from standard input",
    },
    { name: "Refresh", type: "switch", help: "read their content anew first" },
  ],
  refused: {
    RelatedObject: "use -VM or -VMHost",
    Entity: "use -VM or -VMHost",
    Tag: "pools have no tags",
    RelatedResourcePool: "there is one resource pool, of all hosts",
  },
  examples: ["Get-Datastore", "Get-Datastore fast* -VMHost kvm1", "Get-Datastore -VM web"],
  run: async (run) => {
    const { api, bound } = run;
    const all = (await listAll(api, "poolList", { sort: "name" })).items;
    const named = await byName(run, all);
    const chosen = (await Promise.all([byHost(run), byVm(run)])).reduce((pools, test) => pools.filter(test), named);
    const fresh = bound.flag("Refresh") === true ? await refreshed(run, chosen) : chosen;
    const hostName = await namesOf(api, "hostList");
    for (const object of datastoreObjects(fresh, hostName)) run.write(datastoreKind, object);
  },
};

/** The same name on several hosts is no ambiguity here: all of them are listed. */
async function byName(run: CmdletRun, all: readonly StoragePool[]): Promise<readonly StoragePool[]> {
  const texts = [...run.bound.texts("Name"), ...run.bound.texts("Id")];
  if (texts.length === 0) return all;
  const chosen = new Set<StoragePool>();
  for (const text of texts) {
    await run.attempt(async () => {
      const wildcard = new Wildcard(text);
      const found = all.filter(({ id, name }) => id === unescaped(text) || wildcard.matches(name));
      if (found.length === 0 && !hasWildcard(text)) {
        throw tableError("not_found", `there is no datastore "${text}"`, { field: "-Name" });
      }
      for (const pool of found) chosen.add(pool);
    });
  }
  return all.filter((pool) => chosen.has(pool));
}

async function byHost(run: CmdletRun): Promise<(pool: StoragePool) => boolean> {
  if (!run.bound.has("VMHost")) return () => true;
  const references = await run.references("VMHost");
  const places = await placesOf(run.api, references, "-VMHost");
  const hostIds = await hostIdsOf(run.api, places);
  return (pool) => hostIds?.has(pool.hostId) !== false;
}

async function byVm(run: CmdletRun): Promise<(pool: StoragePool) => boolean> {
  if (!run.bound.has("VM")) return () => true;
  const ids = new Set<string>();
  for (const vm of await run.chosen("VM", "vm")) {
    const paths = vm.spec.disks.flatMap(({ source }) => source ?? []);
    for (const { pool } of (await volumesAt(run.api, vm.hostId, paths)).values()) ids.add(pool.id);
  }
  return (pool) => ids.has(pool.id);
}

async function refreshed(run: CmdletRun, pools: readonly StoragePool[]): Promise<readonly StoragePool[]> {
  const fresh: StoragePool[] = [];
  for (const { id } of pools) {
    await run.attempt(async () => void fresh.push(await run.api.call("poolRefresh", { parameters: { poolId: id } })));
  }
  return fresh;
}
