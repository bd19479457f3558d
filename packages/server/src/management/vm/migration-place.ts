/**
 * On which host a guest is, while or after it moves: the only thing that tells after a crash. Facts: libvirt's migration
 * protocol v3 (src/libvirt-domain.c): the target has the guest, paused, while the source runs it; when the target runs it,
 * it is there for good, and all that may be left on the source is a dead definition. The source hands a guest over only
 * paused: one that executes there without a job is there, whatever the target would say. After the switch to post-copy
 * each host holds a part of the memory, and neither may be touched.
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
  /** It ran when the move began. */
  readonly live: boolean;
}

/** `source-alone`: it is on the source, and the target can't be asked. `moving`: not yet certain which one keeps it. */
export type Place = "source" | "source-alone" | "target" | "moving";

const pollMs = 500;
const settleMs = 60_000;
const targetDeadlineMs = 5_000;
const patienceMs = 20_000;

export async function placeOf(deps: OperationDeps, move: Move, call: Call): Promise<Place> {
  const here = deps.providers.get(move.sourceId).guest;
  // The job first: one that ends in between has decided before the guest is read.
  const isBusy = await here.migration.isBusy(move.uuid, call);
  const source = await readGuestIfAny(here, move.uuid, call);
  const target = await readTarget(deps, move, call);
  if (target instanceof AppError) {
    if (source !== undefined && isBusy) return "moving";
    if (source !== undefined && isHeld(source)) return "source-alone";
    throw target; // handed over, or in between: only the target knows
  }
  if (isPostCopy(source) || isPostCopy(target)) return "moving";
  if (source === undefined && target === undefined) {
    throw new AppError("not_found", "The VM is on neither host: someone else removed it.");
  }
  if (target === undefined) return "source";
  if (source === undefined) return "target";
  if (!isActive(source) && !isActive(target)) {
    if (!move.live) return "target";
    throw new AppError("conflict", "Both hosts have the VM's definition and neither runs it: nothing is touched.", {
      remedy: "Find out which host ran it last, and undefine it on the other (virsh undefine).",
    });
  }
  if (isExecuting(target) && !isExecuting(source)) return "target";
  return isActive(target) ? "moving" : "source";
}

/** The target's answer, or why it can't give one now. */
async function readTarget(deps: OperationDeps, move: Move, call: Call): Promise<Guest | undefined | AppError> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(targetDeadlineMs)]);
  try {
    return await readGuestIfAny(deps.providers.get(move.targetId).guest, move.uuid, { signal });
  } catch (error) {
    const isSilent = error instanceof AppError && (error.code === "host_unreachable" || error.code === "timeout");
    if (isSilent && !call.signal.aborted) return error;
    throw error;
  }
}

/** It lives here and nobody is taking it away: it executes, or a person paused it. */
function isHeld(guest: Guest): boolean {
  return isExecuting(guest) || (guest.state === "paused" && guest.stateDetail === "user");
}

function isPostCopy(guest: Guest | undefined): boolean {
  return guest?.stateDetail.startsWith("post-copy") === true;
}

function isExecuting(guest: Guest): boolean {
  return guest.state === "running" || guest.state === "blocked";
}

/**
 * Ends a migration that a crashed caller left running, and waits until the guest is on one host. A silent target gets
 * some time: after a start of the control plane it is just being connected.
 */
export async function settle(deps: OperationDeps, move: Move, call: Call): Promise<Exclude<Place, "moving">> {
  const startMs = deps.clock.monotonicMs();
  for (;;) {
    const place = await placeOf(deps, move, call);
    const waitedMs = deps.clock.monotonicMs() - startMs;
    if (place === "moving") {
      await deps.providers.get(move.sourceId).guest.migration.abortMigration(move.uuid, call).catch(unlessRefused);
      if (waitedMs > settleMs) throw unsettled();
    } else if (place !== "source-alone" || waitedMs > patienceMs) {
      return place;
    }
    await deps.clock.sleep(pollMs, call.signal);
  }
}

function unsettled(): AppError {
  return new AppError("timeout", "Both hosts have the VM, and the migration between them does not end.", {
    remedy: "Look at both hosts (virsh list --all; virsh domjobinfo): nothing is touched until one of them has it.",
  });
}

/** A job in a phase that can't be cancelled ends by itself. */
function unlessRefused(error: unknown): void {
  if (error instanceof AppError && (error.code === "host_unreachable" || error.code === "cancelled")) throw error;
}

/** The guest is on `keep`: what the other host still has of it is a definition without a life. */
export async function dropOther(deps: OperationDeps, move: Move, keep: "source" | "target", call: Call): Promise<void> {
  const { guest } = deps.providers.get(keep === "source" ? move.targetId : move.sourceId);
  const other = await readGuestIfAny(guest, move.uuid, call);
  if (other === undefined) return;
  if (isExecuting(other)) throw new AppError("conflict", "Both hosts run the VM: nothing was touched.");
  await removeGuest(guest, move.uuid, call);
}
