/** What happens to a host's storage pools, as libvirt tells it (virStoragePoolEventLifecycleType, libvirt 9.0). */
import { mapLibvirtError } from "#libvirt/error.ts";
import { mapped, mergeEvents } from "#libvirt/event-merge.ts";
import { isOwnPool } from "#libvirt/own-pool.ts";
import type { LibvirtContext } from "#libvirt/session.ts";
import type { StorageEvent } from "#storage/port.ts";

/** By virStoragePoolEventLifecycleType. */
const lifecycleTypes: readonly string[] = ["defined", "undefined", "started", "stopped", "created", "deleted"];

export async function* storagePoolChanges(
  context: LibvirtContext,
  signal: AbortSignal,
): AsyncGenerator<StorageEvent, void> {
  try {
    const { events } = await context.session.connection({ signal });
    const all = mergeEvents<StorageEvent>([
      mapped(events.storagePool("lifecycle", { signal }), ({ pool, event }) => ({
        poolName: pool.name,
        type: lifecycleTypes[event] ?? "changed",
      })),
      mapped(events.storagePool("refresh", { signal }), ({ pool }) => ({ poolName: pool.name, type: "refreshed" })),
    ]);
    for await (const event of all) if (!isOwnPool(event.poolName)) yield event;
  } catch (error) {
    if (signal.aborted) return;
    throw mapLibvirtError(error, { what: "watch storage pools" });
  }
}
