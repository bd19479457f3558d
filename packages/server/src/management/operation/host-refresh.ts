/** Reads everything of a host anew and tests whether KVM really runs a guest there. */
import { Type } from "typebox";
import type { ResourceRef } from "@innkeeper/contract/resource/task.ts";
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { operation } from "#management/task/operation.ts";

export function hostTarget(inventory: Inventory, hostId: string): ResourceRef {
  const host = inventory.get("host", hostId) ?? inventory.by("host", "name", hostId)[0];
  return host === undefined ? { kind: "host", id: hostId } : { kind: "host", id: host.id, name: host.name };
}

export function hostRefresh(deps: HostOperationDeps) {
  const { inventory, providers, reconciler } = deps;
  return operation({
    name: "host.refresh",
    input: Type.Object({ hostId: Type.String() }),
    check({ hostId }) {
      providers.get(inventory.require("host", hostId, { field: "hostId" }).id);
    },
    // The host itself is claimed shared: what goes on there need not wait for a look.
    claims: ({ hostId }) => ({ exclusive: [`host-refresh:${hostId}`] }),
    target: ({ hostId }) => hostTarget(inventory, hostId),
    steps: [
      {
        name: "read",
        async do({ input, signal }) {
          await deps.hostSync.syncHost(inventory.require("host", input.hostId).id, { signal });
        },
      },
      {
        name: "test-kvm",
        async do({ input, signal, progress }) {
          progress({ done: 0, total: 1, unit: "step" }, "testing whether KVM runs a guest");
          const { id } = inventory.require("host", input.hostId);
          await reconciler.hardware.storeKvm(id, await providers.get(id).link.testKvm({ signal }));
        },
      },
    ],
    outcome: ({ input }) => ({ hostId: input.hostId }),
  });
}
