/** A cluster as PowerCLI shows it. Facts: Cluster of VMware.VimAutomation.ViCore.Types.V1.Inventory, PowerCLI's table of it. */
import type { Cluster } from "@innkeeper/contract/resource/cluster.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";

interface ClusterObject {
  readonly Name: string;
  readonly Id: string;
  /** There is neither yet. */
  readonly HAEnabled: false;
  readonly DrsEnabled: false;
  readonly Description: string;
}

export function clusterObject({ name, id, description }: Cluster): ClusterObject {
  return { Name: name, Id: id, HAEnabled: false, DrsEnabled: false, Description: description };
}

export const clusterKind: ObjectKind<ClusterObject> = {
  columns: [
    { name: "Name", value: (cluster) => cluster.Name },
    { name: "HAEnabled", value: (cluster) => (cluster.HAEnabled ? "True" : "False") },
    { name: "DrsEnabled", value: (cluster) => (cluster.DrsEnabled ? "True" : "False") },
    { name: "Description", value: (cluster) => cluster.Description, extra: true },
    { name: "Id", value: (cluster) => cluster.Id, extra: true },
  ],
};
