/** How much longer than with few hosts one waits between two readings of what events and bulk counters mostly tell already. */
import type { Inventory } from "#management/inventory/inventory.ts";

/** So many hosts are read as often as one. */
const hostsAtFullPace = 100;

/** 1 or more: a large fleet costs no more than `hostsAtFullPace` hosts do. */
export function fleetPace(inventory: Pick<Inventory, "count">): number {
  return Math.max(1, inventory.count("host") / hostsAtFullPace);
}
