/** libvirt's numbers for states and their reasons as words (libvirt 9.0 libvirt-domain.h virDomainState, vir…Reason). */
import type { VmState } from "@innkeeper/contract/state/vm.ts";

const states: readonly VmState[] = [
  "unknown",
  "running",
  "blocked",
  "paused",
  "shutting-down",
  "shutoff",
  "crashed",
  "pmsuspended",
];

/** virsh's words (tools/virsh-domain-monitor.c) for each state's reasons, in the order of the numbers. */
const reasons: Readonly<Partial<Record<VmState, readonly string[]>>> = {
  running: [
    "unknown",
    "booted",
    "migrated",
    "restored",
    "from snapshot",
    "unpaused",
    "migration canceled",
    "save canceled",
    "event wakeup",
    "crashed",
    "post-copy",
    "post-copy failed",
  ],
  paused: [
    "unknown",
    "user",
    "migrating",
    "saving",
    "dumping",
    "I/O error",
    "watchdog",
    "from snapshot",
    "shutting down",
    "creating snapshot",
    "crashed",
    "starting up",
    "post-copy",
    "post-copy failed",
    "API error",
  ],
  "shutting-down": ["unknown", "user"],
  shutoff: ["unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "daemon"],
  crashed: ["unknown", "panicked"],
};

/** VIR_DOMAIN_NOSTATE of a domain with an id is what Xen and LXC report for one that runs. */
export function stateName(state: number, active: boolean): VmState {
  if (state === 0) return active ? "running" : "unknown";
  return states[state] ?? "unknown";
}

export function stateReason(state: VmState, reason: number): string {
  return reasons[state]?.[reason] ?? "unknown";
}
