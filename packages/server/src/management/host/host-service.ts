/** What of a host is Innkeeper's own: name, description, tags, cluster, maintenance. Changed at once, nothing on the host is touched. */
import type { Host, HostChange } from "@innkeeper/contract/resource/host.ts";
import { clusterOf } from "#management/cluster/cluster-lookup.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { checkRevision } from "#management/inventory/precondition.ts";
import { requireUniqueName } from "#management/inventory/unique-name.ts";
import type { ServiceContext } from "#management/service-context.ts";
import type { Store } from "#store/port.ts";

export class HostService {
  readonly #store: Store;
  readonly #inventory: Inventory;

  constructor(deps: { readonly store: Store; readonly inventory: Inventory }) {
    this.#store = deps.store;
    this.#inventory = deps.inventory;
  }

  async change(hostId: string, request: HostChange, context: ServiceContext): Promise<Host> {
    const { id } = this.#inventory.require("host", hostId, { field: "hostId" });
    const { ifRevision } = context;
    if (ifRevision !== undefined) await checkRevision(this.#store, this.#inventory, "host", id, ifRevision);
    return this.#store.transaction(async (transaction) => {
      const host = (await transaction.get("host", id)) ?? this.#inventory.require("host", hostId);
      if (request.name !== undefined) requireUniqueName(this.#inventory, "host", request.name, id);
      const { clusterId: before, ...rest } = host;
      const clusterId = clusterOf(this.#inventory, request.cluster, before);
      const changed: Host = {
        ...rest,
        ...(request.name === undefined ? {} : { name: request.name }),
        ...(request.description === undefined ? {} : { description: request.description }),
        ...(request.tags === undefined ? {} : { tags: [...new Set(request.tags)] }),
        ...(clusterId === undefined ? {} : { clusterId }),
        ...(request.maintenance === undefined ? {} : { maintenance: request.maintenance }),
      };
      return transaction.put("host", changed, ifRevision === undefined ? {} : { ifRevision });
    });
  }
}
