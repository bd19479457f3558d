/** Clusters are Innkeeper's own: made, changed and deleted at once, nothing on a host is touched. */
import { newId } from "@innkeeper/contract/id.ts";
import type { Cluster, ClusterChange, ClusterCreate } from "@innkeeper/contract/resource/cluster.ts";
import { AppError } from "#core/app-error.ts";
import { type Clock, timestamp } from "#core/clock.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { checkRevision } from "#management/inventory/precondition.ts";
import { requireUniqueName } from "#management/inventory/unique-name.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { Store } from "#store/port.ts";

interface ClusterServiceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly clock: Clock;
}

/** So many hosts are named when a cluster that has some is not deleted. */
const namedMax = 10;

export class ClusterService {
  readonly #deps: ClusterServiceDeps;

  constructor(deps: ClusterServiceDeps) {
    this.#deps = deps;
  }

  create({ name, description = "" }: ClusterCreate): Promise<Cluster> {
    const { store, inventory, clock } = this.#deps;
    return store.transaction(async (transaction) => {
      requireUniqueName(inventory, "cluster", name);
      return transaction.put("cluster", { id: newId("cluster"), name, description, createdAt: timestamp(clock) });
    });
  }

  async change(clusterId: string, request: ClusterChange, { ifRevision }: ServiceContext): Promise<Cluster> {
    const { store, inventory } = this.#deps;
    await this.#check(clusterId, ifRevision);
    return store.transaction(async (transaction) => {
      const cluster = inventory.require("cluster", clusterId, { field: "clusterId" });
      if (request.name !== undefined) requireUniqueName(inventory, "cluster", request.name, clusterId);
      return transaction.put("cluster", { ...cluster, ...request }, ifRevision === undefined ? {} : { ifRevision });
    });
  }

  /** conflict while hosts are in it. */
  async delete(clusterId: string, { ifRevision }: ServiceContext): Promise<void> {
    const { store, inventory } = this.#deps;
    await this.#check(clusterId, ifRevision);
    await store.transaction(async (transaction) => {
      const { name } = inventory.require("cluster", clusterId, { field: "clusterId" });
      const hosts = inventory.by("host", "clusterId", clusterId).map((host) => host.name);
      if (hosts.length > 0) throw notEmpty(name, hosts.toSorted());
      await transaction.delete("cluster", clusterId);
    });
  }

  async #check(clusterId: string, ifRevision: number | undefined): Promise<void> {
    const { store, inventory } = this.#deps;
    inventory.require("cluster", clusterId, { field: "clusterId" });
    if (ifRevision !== undefined) await checkRevision(store, inventory, "cluster", clusterId, ifRevision);
  }
}

function notEmpty(name: string, hosts: readonly string[]): AppError {
  const named = hosts.slice(0, namedMax).join(", ");
  const more = hosts.length > namedMax ? ` and ${hosts.length - namedMax} more` : "";
  const what = hosts.length === 1 ? `Host ${named} is` : `${hosts.length} hosts are`;
  const list = hosts.length === 1 ? "" : `: ${named}${more}`;
  return new AppError("conflict", `${what} in cluster ${name}${list}. Nothing was changed.`, {
    remedy: "Take them out of it, or into another one, first: inn host set HOST --no-cluster.",
  });
}
