/** Networks of a host → their documents; a network's identity on its host is its UUID, or the name when it was made anew. */
import type { HostId } from "@innkeeper/contract/id.ts";
import type { Call } from "#core/call.ts";
import { KeyedLock } from "#core/concurrency.ts";
import { stableId } from "#management/inventory/stable-id.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { changeOf } from "./storage-sync.ts";

export class NetworkSync {
  readonly #deps: ReconcileDeps;
  readonly #lock = new KeyedLock();

  constructor(deps: ReconcileDeps) {
    this.#deps = deps;
  }

  syncAll(hostId: string, call: Call): Promise<void> {
    const { providers, inventory, writes } = this.#deps;
    return this.#lock.run(hostId, async () => {
      const networks = await providers.get(hostId).network.list(call);
      const left = new Map(inventory.byHost("network", hostId).map((network) => [network.id as string, network]));
      const changes = networks.flatMap((network) => {
        const known = [...left.values()];
        const previous =
          known.find((each) => each.uuid === network.uuid) ?? known.find((each) => each.name === network.name);
        if (previous !== undefined) left.delete(previous.id);
        const id = previous?.id ?? stableId(inventory, "network", hostId, network.uuid);
        const draft = { ...network, id, hostId: hostId as HostId };
        return changeOf("network", draft, previous);
      });
      if (changes.length === 0 && left.size === 0) return;
      await writes.run(async (transaction) => {
        if ((await transaction.get("host", hostId)) === undefined) return;
        for (const apply of changes) await apply(transaction);
        for (const id of left.keys()) await transaction.delete("network", id);
      });
    });
  }
}
