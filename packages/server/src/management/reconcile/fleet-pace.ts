/** How much longer than with few hosts one waits between two readings of what events and bulk counters mostly tell already. */
import type { Providers } from "#management/providers.ts";

/** So many hosts are read as often as one. */
const hostsAtFullPace = 100;

/** 1 or more: a large fleet costs no more than `hostsAtFullPace` hosts do. */
export function fleetPace(providers: Providers): number {
  return Math.max(1, providers.connectedHostIds().length / hostsAtFullPace);
}
