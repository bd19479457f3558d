/** Everything that is stored of a host, forgotten in one transaction. Nothing on the host is touched: its VMs run on. */
import type { Inventory } from "#management/inventory/inventory.ts";
import { forgetVm } from "#management/reconcile/guest-sync.ts";
import type { HostCredentials } from "#management/reconcile/host-credential.ts";
import type { Store } from "#store/port.ts";

export async function forgetHost(
  deps: { readonly store: Store; readonly inventory: Inventory; readonly credentials: HostCredentials },
  hostId: string,
): Promise<void> {
  const { store, inventory, credentials } = deps;
  await store.transaction(async (transaction) => {
    for (const vm of inventory.byHost("vm", hostId)) await forgetVm(inventory, transaction, vm);
    for (const kind of ["volume", "image", "storage-pool", "network"] as const) {
      for (const resource of inventory.byHost(kind, hostId)) await transaction.delete(kind, resource.id);
    }
    await credentials.delete(transaction, hostId);
    await transaction.delete("host", hostId);
  });
}
