/**
 * The states of a VM and what can be done in each, as data. Server, CLI and web ask `vmCan`; nobody compares states.
 * States are libvirt's (virDomainState, libvirt 9.0) under the names that virsh prints, without spaces;
 * `unknown` is a VM whose host can't be asked.
 */
export const vmStates = [
  "running",
  "blocked",
  "paused",
  "shutting-down",
  "shutoff",
  "crashed",
  "pmsuspended",
  "unknown",
] as const;
export type VmState = (typeof vmStates)[number];

const active: readonly VmState[] = ["running", "blocked", "paused", "shutting-down", "pmsuspended"];
const executing: readonly VmState[] = ["running", "blocked", "shutting-down"];
const inactive: readonly VmState[] = ["shutoff", "crashed"];
const known: readonly VmState[] = [...active, ...inactive];

const allowed = {
  start: inactive,
  shutdown: ["running", "blocked", "shutting-down"],
  forceOff: [...active, "crashed"],
  reboot: ["running", "blocked"],
  reset: executing,
  suspend: ["running", "blocked"],
  resume: ["paused"],
  wakeUp: ["pmsuspended"],
  change: known,
  rename: inactive,
  delete: known,
  snapshot: ["running", "blocked", "paused", ...inactive],
  snapshotWithMemory: ["running", "blocked", "paused"],
  revert: known,
  clone: known,
  migrate: ["running", "blocked", "paused", ...inactive],
  console: executing,
  screenshot: ["running", "blocked", "paused"],
  guest: ["running", "blocked"],
  hotplug: ["running", "blocked", "paused"],
} as const satisfies Record<string, readonly VmState[]>;

export type VmAction = keyof typeof allowed;

/** Asks whether an action is possible: `vmCan.start(vm)`. */
export const vmCan = Object.fromEntries(
  Object.entries(allowed).map(([action, states]) => [
    action,
    (vm: { state: VmState }) => (states as readonly VmState[]).includes(vm.state),
  ]),
) as Record<VmAction, (vm: { state: VmState }) => boolean>;

/** The states in which an action is possible, for the sentence that refuses it. */
export function statesFor(action: VmAction): readonly VmState[] {
  return allowed[action];
}

/** Whether it has a running process on its host (it may be paused). */
export function isActive(vm: { state: VmState }): boolean {
  return active.includes(vm.state);
}
