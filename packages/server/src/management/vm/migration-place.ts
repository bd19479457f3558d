/**
 * On which host a guest is, while or after it moves: the only thing that tells after a crash. Facts: libvirt's migration
 * protocol v3 (src/libvirt-domain.c): the target has the guest, paused, while the source runs it; when the target runs it,
 * it is there for good, and all that may be left on the source is a dead definition.
 */
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { Guest } from "#virtualization/port.ts";
import { readGuestIfAny, removeGuest } from "./guest-read.ts";

export interface Move {
  readonly sourceId: string;
  readonly targetId: string;
  readonly uuid: string;
}

export type Place = "source" | "target" | "moving";

const pollMs = 500;
const settleMs = 60_000;

/** `moving`: both have it, and it is not yet certain which one keeps it. */
export async function placeOf(deps: OperationDeps, move: Move, call: Call): Promise<Place> {
  const [source, target] = await Promise.all([
    readGuestIfAny(deps.providers.get(move.sourceId).guest, move.uuid, call),
    readGuestIfAny(deps.providers.get(move.targetId).guest, move.uuid, call),
  ]);
  if (source === undefined && target === undefined) {
    throw new AppError("not_found", "The VM is on neither host: someone else removed it.");
  }
  if (target === undefined) return "source";
  if (source === undefined) return "target";
  if (!isActive(source) && !isActive(target)) return "target";
  if (isExecuting(target) && !isExecuting(source)) return "target";
  return isActive(target) ? "moving" : "source";
}

function isExecuting(guest: Guest): boolean {
  return guest.state === "running" || guest.state === "blocked";
}

/** Ends a migration that a crashed caller left running, and waits until the guest is on one host. */
export async function settle(deps: OperationDeps, move: Move, call: Call): Promise<"source" | "target"> {
  const deadlineMs = deps.clock.monotonicMs() + settleMs;
  for (;;) {
    const place = await placeOf(deps, move, call);
    if (place !== "moving") return place;
    await deps.providers.get(move.sourceId).guest.migration.abortMigration(move.uuid, call).catch(unlessRefused);
    if (deps.clock.monotonicMs() > deadlineMs) {
      throw new AppError("timeout", "Both hosts have the VM, and the migration between them does not end.", {
        remedy: "Look at both hosts (virsh list --all; virsh domjobinfo): nothing is touched until one of them has it.",
      });
    }
    await deps.clock.sleep(pollMs, call.signal);
  }
}

/** A job in a phase that can't be cancelled ends by itself. */
function unlessRefused(error: unknown): void {
  if (error instanceof AppError && (error.code === "host_unreachable" || error.code === "cancelled")) throw error;
}

/** The guest is on `keep`: what the other host still has of it is a definition without a life. */
export async function dropOther(deps: OperationDeps, move: Move, keep: "source" | "target", call: Call): Promise<void> {
  const { guest } = deps.providers.get(keep === "source" ? move.targetId : move.sourceId);
  const other = await readGuestIfAny(guest, move.uuid, call);
  if (other !== undefined) await removeGuest(guest, move.uuid, call);
}
