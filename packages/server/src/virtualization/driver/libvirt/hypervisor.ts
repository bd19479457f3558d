/**
 * The virtualization layer's libvirt driver: guests of one host through its libvirt daemon. It holds no state of its own:
 * all it knows it asks the host for, so it tells the truth also when virsh changes things behind our back.
 */
import { parseUri } from "@innkeeper/libvirt";
import type { GuestHypervisor } from "#virtualization/port.ts";
import { guestConsole } from "./console.ts";
import type { GuestDriverContext } from "./driver-context.ts";
import { guestEvents } from "./event.ts";
import { guestInventory } from "./inventory.ts";
import { guestLifecycle } from "./lifecycle.ts";
import { guestMigration } from "./migration.ts";
import { guestSnapshot } from "./snapshot.ts";

export type { GuestDriverContext } from "./driver-context.ts";

/**
 * By libvirt's driver, the scheme of its URI. Consoles of LXC are its serial line alone, which works like QEMU's; the
 * test driver has neither consoles nor anything that lives on a disk.
 */
const capabilityByDriver: Readonly<Record<string, GuestHypervisor["capability"]>> = {
  qemu: { snapshot: true, migration: true, console: true },
  lxc: { snapshot: false, migration: false, console: true },
  test: { snapshot: false, migration: false, console: false },
};

const noCapability: GuestHypervisor["capability"] = { snapshot: false, migration: false, console: false };

export function createLibvirtHypervisor(context: GuestDriverContext): GuestHypervisor {
  return {
    inventory: guestInventory(context),
    lifecycle: guestLifecycle(context),
    snapshot: guestSnapshot(context),
    migration: guestMigration(context),
    console: guestConsole(context),
    events: (signal) => guestEvents(context, signal),
    capability: capabilityByDriver[parseUri(context.uri).driver] ?? noCapability,
  };
}
