/** Candidates for a placement, from the inventory: what each host has, and what it lacks for the request. */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Problem } from "#management/vm/hardware-check.ts";
import type { Candidate } from "./placement.ts";

/** `problemsOf` adds what the request needs of a host that is fit for guests at all. */
export function candidate(inventory: Inventory, host: Host, problemsOf: (host: Host) => Problem[]): Candidate {
  const general = hostUnfit(host);
  return {
    hostId: host.id,
    hostName: host.name,
    problems: general === undefined ? problemsOf(host) : [general],
    memoryFreeMiB: memoryFreeMiB(inventory, host),
  };
}

/** What keeps a host from taking any new guest. */
export function hostUnfit(host: Host): Problem | undefined {
  if (host.connectionState !== "connected") {
    const detail = host.connectionDetail === "" ? "" : `: ${host.connectionDetail}`;
    const message = `Host ${host.name} is not connected (${host.connectionState})${detail}.`;
    return { code: "host_unreachable", field: "host", message };
  }
  if (host.maintenance) {
    return { code: "invalid_state", field: "host", message: `Host ${host.name} is in maintenance.` };
  }
  if (host.hardware === undefined) {
    return { code: "invalid_state", field: "host", message: `Host ${host.name} is not inventoried yet.` };
  }
  return undefined;
}

/** As sampled on the host; before the first sample, what its running VMs leave. */
export function memoryFreeMiB(inventory: Inventory, host: Host): number {
  if (host.usage !== undefined) return host.usage.memoryFreeMiB;
  const used = inventory
    .byHost("vm", host.id)
    .filter((vm) => isActive(vm))
    .reduce((sum, vm) => sum + vm.spec.memory.sizeMiB, 0);
  return Math.max(0, (host.hardware?.memoryMiB ?? 0) - used);
}
