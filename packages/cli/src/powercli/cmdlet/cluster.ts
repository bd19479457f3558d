/** Get-Cluster, New-Cluster, Remove-Cluster, and Move-VMHost, which puts hosts into one. */
import { valueError } from "#cli-error.ts";
import { listAll } from "#list.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { hostParameter } from "#powercli/signature.ts";
import { clusterKind, clusterObject } from "#powercli/object/cluster.ts";
import { hostKind, hostObject } from "#powercli/object/host.ts";
import { placeOf } from "#powercli/place.ts";
import { hostRows } from "#page/host.ts";

const notYet = "clusters have no DRS and no HA yet";

export const getCluster: Cmdlet = {
  name: "Get-Cluster",
  summary: "List clusters.",
  operations: ["clusterList", "hostList", "vmList"],
  parameters: [
    { name: "Name", list: true, position: 0, noun: "cluster", help: "only these; with wildcards" },
    { name: "Id", list: true, help: "only these, by id" },
    { name: "VMHost", list: true, noun: "host", help: "only those that have these hosts" },
    { name: "VM", list: true, noun: "vm", help: "only those that have these VMs; `-` takes VMs from standard input" },
    { name: "Location", help: "Datacenters: there are no others" },
    { name: "NoRecursion", type: "switch", help: "the same as without: nothing but hosts is below a cluster" },
  ],
  refused: { RelatedObject: "use -VMHost or -VM", Tag: "clusters have no tags" },
  examples: ["Get-Cluster", "Get-Cluster prod*", "Get-Cluster -VM web"],
  run: async (run) => {
    await requireRoot(run);
    const all = await run.listed("cluster");
    const wanted = await ofMembers(run);
    for (const cluster of all) if (wanted?.has(cluster.id) !== false) run.write(clusterKind, clusterObject(cluster));
  },
};

/** The clusters of the hosts and VMs that are named; undefined: none are. */
async function ofMembers(run: CmdletRun): Promise<ReadonlySet<string> | undefined> {
  const { api, bound } = run;
  if (!bound.has("VMHost") && !bound.has("VM")) return undefined;
  const hosts = bound.has("VMHost") ? await run.chosen("VMHost", "host") : [];
  const clusterIds = new Set<string>(hosts.flatMap(({ clusterId }) => clusterId ?? []));
  if (bound.has("VM")) {
    const hostIds = new Set<string>((await run.chosen("VM", "vm")).map(({ hostId }) => hostId));
    const { items } = await listAll(api, "hostList", { filter: "clusterId!=null", fields: "clusterId" });
    for (const { id, clusterId } of items) if (clusterId !== undefined && hostIds.has(id)) clusterIds.add(clusterId);
  }
  return clusterIds;
}

async function requireRoot({ api, bound }: CmdletRun): Promise<void> {
  const text = bound.text("Location");
  if (text !== undefined) await placeOf(api, { text, literal: false }, "-Location", []);
}

export const newCluster: Cmdlet = {
  name: "New-Cluster",
  summary: "Create a cluster without hosts.",
  operations: ["clusterCreate"],
  impact: "changes",
  parameters: [
    { name: "Name", position: 0, required: true, help: "what to call it" },
    { name: "Location", help: "Datacenters: there are no others" },
  ],
  refused: {
    HAEnabled: notYet,
    HAAdmissionControlEnabled: notYet,
    HAFailoverLevel: notYet,
    HAIsolationResponse: notYet,
    HARestartPriority: notYet,
    DrsEnabled: notYet,
    DrsMode: notYet,
    DrsAutomationLevel: notYet,
    EVCMode: "CPUs are made alike with each VM's CPU model: `inn vm create --cpu`",
    VsanEnabled: "there is no vSAN",
    VsanDiskClaimMode: "there is no vSAN",
    VMSwapfilePolicy: "swap is the host's own",
  },
  examples: ["New-Cluster -Name production -Location Datacenters"],
  parameterOfField: { name: "Name" },
  run: async (run) => {
    await requireRoot(run);
    const name = run.bound.text("Name") ?? "";
    if (!(await run.agreed("New-Cluster", name))) return;
    await run.attempt(async () => {
      run.write(clusterKind, clusterObject(await run.api.call("clusterCreate", { body: { name } })));
    });
  },
};

export const removeCluster: Cmdlet = {
  name: "Remove-Cluster",
  summary: "Delete clusters that no host is in.",
  operations: ["clusterDelete"],
  impact: "asks",
  parameters: [
    {
      name: "Cluster",
      list: true,
      position: 0,
      required: true,
      pipeline: true,
      noun: "cluster",
      help: "the clusters, by name (with wildcards) or id",
    },
  ],
  refused: { RunAsync: "it is done at once" },
  examples: ["Remove-Cluster -Cluster test -Confirm:$false"],
  run: async (run) => {
    for (const { id, name } of await run.chosen("Cluster", "cluster")) {
      await run.attempt(async () => {
        if (!(await run.agreed("Remove-Cluster", name))) return;
        await run.api.call("clusterDelete", { parameters: { clusterId: id } });
      });
    }
  },
};

export const moveVmHost: Cmdlet = {
  name: "Move-VMHost",
  summary: "Put hosts into a cluster, or out of it; their VMs run on where they are.",
  operations: ["hostChange"],
  impact: "changes",
  parameters: [
    hostParameter,
    {
      name: "Destination",
      position: 1,
      required: true,
      noun: "cluster",
      help: "the cluster; Datacenters: out of the one that they are in",
    },
  ],
  refused: { RunAsync: "it is done at once" },
  examples: ["Move-VMHost -VMHost kvm1 -Destination production", "Get-VMHost kvm* | inn Move-VMHost -Destination lab"],
  parameterOfField: { cluster: "Destination" },
  run: async (run) => {
    const { api, bound } = run;
    const text = bound.text("Destination") ?? "";
    const place = await placeOf(api, { text, literal: false }, "-Destination", ["cluster"]);
    if (text === "") throw valueError("-Destination", "it must not be empty");
    for (const host of await run.chosen("VMHost", "host")) {
      await run.attempt(async () => {
        if (!(await run.agreed(`Move host to ${place?.name ?? text}`, host.name))) return;
        const body = { cluster: place?.id ?? null };
        const changed = await api.call("hostChange", { parameters: { hostId: host.id }, body });
        for (const row of await hostRows(api, [changed])) run.write(hostKind, hostObject(row));
      });
    }
  },
};
