/** Clusters as requests name them. */
import type { ClusterId } from "@innkeeper/contract/id.ts";
import type { Inventory } from "#management/inventory/inventory.ts";

/** The cluster that a request names; null: none; absent: as it was. not_found names the field `cluster`. */
export function clusterOf(
  inventory: Inventory,
  cluster: string | null | undefined,
  before?: ClusterId,
): ClusterId | undefined {
  if (cluster === undefined) return before;
  return cluster === null ? undefined : inventory.require("cluster", cluster, { field: "cluster" }).id;
}
