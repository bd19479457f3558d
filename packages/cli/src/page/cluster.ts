/** A cluster for people: its row in a list, its page, with what its hosts have together. */
import type { Cluster } from "@innkeeper/contract/resource/cluster.ts";
import type { ApiClient } from "#client.ts";
import { listAll } from "#list.ts";
import { ago } from "#output/time.ts";
import { type Column, pairText } from "#output/table.ts";
import { sizeText } from "#page/host.ts";

interface ClusterRow extends Cluster {
  readonly hostNames: readonly string[];
  readonly vmCount: number;
  readonly cpuCount: number;
  readonly memoryMiB: number;
  readonly memoryFreeMiB: number;
}

export const clusterColumns: readonly Column<ClusterRow>[] = [
  { name: "name", value: (cluster) => cluster.name },
  { name: "hosts", value: (cluster) => String(cluster.hostNames.length), right: true },
  { name: "vms", value: (cluster) => String(cluster.vmCount), right: true },
  { name: "cpus", value: (cluster) => String(cluster.cpuCount), right: true },
  { name: "memory", value: (cluster) => sizeText(cluster.memoryMiB), right: true },
  { name: "free", value: (cluster) => sizeText(cluster.memoryFreeMiB), right: true },
  { name: "description", value: (cluster) => cluster.description },
  { name: "id", value: (cluster) => cluster.id, extra: true },
];

export async function clusterRows(api: ApiClient, clusters: readonly Cluster[]): Promise<ClusterRow[]> {
  const { items: hosts } = await listAll(api, "hostList", {
    filter: "clusterId!=null",
    sort: "name",
    fields: "name,clusterId,hardware.cpuCount,hardware.memoryMiB,usage.memoryFreeMiB",
  });
  const rows: ClusterRow[] = [];
  for (const cluster of clusters) {
    const own = hosts.filter(({ clusterId }) => clusterId === cluster.id);
    const { totalCount } = await api.page("vmList", { filter: `host.clusterId=${cluster.id}`, limit: 1, fields: "id" });
    rows.push({
      ...cluster,
      hostNames: own.map(({ name }) => name),
      vmCount: totalCount,
      cpuCount: sum(own.map(({ hardware }) => hardware?.cpuCount)),
      memoryMiB: sum(own.map(({ hardware }) => hardware?.memoryMiB)),
      memoryFreeMiB: sum(own.map(({ usage }) => usage?.memoryFreeMiB)),
    });
  }
  return rows;
}

export function clusterText(cluster: ClusterRow): string {
  const { hostNames, vmCount, cpuCount, memoryMiB, memoryFreeMiB } = cluster;
  return pairText([
    ["name", cluster.name],
    ["id", cluster.id],
    ["description", cluster.description],
    ["hosts", hostNames.length === 0 ? "none" : hostNames.join(", ")],
    ["VMs", String(vmCount)],
    ["CPUs", String(cpuCount)],
    ["memory", `${sizeText(memoryMiB)}, ${sizeText(memoryFreeMiB)} free`],
    ["created", ago(cluster.createdAt)],
  ]);
}

function sum(numbers: readonly (number | undefined)[]): number {
  return numbers.reduce<number>((total, number) => total + (number ?? 0), 0);
}
