/**
 * Which VM a guest is that was found on a host where its document is not. The same domain UUID on two hosts is, in the
 * order of likelihood: a migration that ends, one that begins, a definition that was left behind, a copy made by hand.
 * Invariant: a VM's id follows the guest that runs, and no id is given twice.
 */
import { isId, newId, type VmId } from "@innkeeper/contract/id.ts";
import { derivedId } from "#core/derived-id.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmState } from "@innkeeper/contract/state/vm.ts";
import type { Guest } from "#virtualization/port.ts";

/** What is known of the other host that has the document of the same domain UUID. */
export interface Twin {
  readonly vm: Vm;
  /** `absent`: its host was asked and has no such guest. `unknown`: its host can't be asked. */
  readonly there: VmState | "absent";
}

export type Identity =
  | { readonly kind: "new"; readonly id: VmId; readonly duplicateOf?: Vm }
  | { readonly kind: "moved"; readonly vm: Vm }
  /** Look again later: it is on its way, or its twin can't be asked. */
  | { readonly kind: "undecided" };

const executing: readonly VmState[] = ["running", "blocked", "shutting-down"];

interface IdentityQuestion {
  readonly guest: Pick<Guest, "uuid" | "state" | "metadata">;
  readonly twin: Twin | undefined;
  /** For how long both have been seen, unmoved. */
  readonly twinSinceMs: number;
  /** Whether another VM has this id. */
  readonly isTaken: (id: string) => boolean;
}

/** A migration's two ends are seen together for as long as it takes; of an offline one, for a moment. */
export const duplicateAfterMs = 10_000;

export function identify({ guest, twin, twinSinceMs, isTaken }: IdentityQuestion): Identity {
  if (twin === undefined) return { kind: "new", id: freeId(guest, isTaken) };
  const { vm, there } = twin;
  if (there === "absent") return { kind: "moved", vm };
  const runsHere = executing.includes(guest.state);
  const runsThere = executing.includes(there);
  if (runsHere && !runsThere) return { kind: "moved", vm };
  if (there === "unknown" || guest.state === "paused" || twinSinceMs < duplicateAfterMs) return { kind: "undecided" };
  return { kind: "new", id: newId("vm"), duplicateOf: vm };
}

/** The id that it had when it was found or made, as far as it tells itself. */
export function ownId({ uuid, metadata }: Pick<Guest, "uuid" | "metadata">): VmId {
  const claimed = metadata?.vmId;
  return claimed !== undefined && isId("vm", claimed) ? claimed : derivedId("vm", uuid);
}

/**
 * The id in its metadata, unless another VM has it: then this one was copied from that. Of a guest without metadata the id
 * that its UUID gives: the same whenever it is found anew.
 */
function freeId({ uuid, metadata }: Pick<Guest, "uuid" | "metadata">, isTaken: (id: string) => boolean): VmId {
  const claimed = metadata?.vmId;
  if (claimed !== undefined && isId("vm", claimed) && !isTaken(claimed)) return claimed;
  const derived = derivedId("vm", uuid);
  return isTaken(derived) ? newId("vm") : derived;
}
