/**
 * On which host a guest is, while or after it moves: the only thing that tells after a crash. Facts: libvirt's migration
 * protocol v3 (libvirt 9.0 src/libvirt-domain.c, qemu_migration.c qemuMigrationSrcPerformPeer2Peer3): the target has the
 * guest, paused, while the source runs it, and lets it run once it has all of it; then the source forgets it. The source
 * hands a guest over only paused: one that executes there without a job is there, whatever the target would say; one
 * that executes on the target has been handed over, whatever the source would say. One exception: when the hosts lose each
 * other in the very moment of the hand-over, the source believes that it failed and resumes its copy, too. After the
 * switch to post-copy each host holds a part of the memory, and neither may be touched.
 */
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { Guest, GuestHypervisor } from "#virtualization/port.ts";
import { readGuestIfAny, removeGuest } from "./guest-read.ts";

export interface Move {
  readonly sourceId: string;
  readonly targetId: string;
  readonly uuid: string;
  /** It ran when the move began. */
  readonly live: boolean;
  /** It executed then: nobody had paused it. */
  readonly executed?: boolean;
  /** What a host keeps of it beside the definition is, at least in part, the other's, too: it outlives either definition. */
  readonly keepsState?: boolean;
  /** libvirt said that it succeeded. */
  readonly handedOver?: boolean;
}

/**
 * `source-alone`, `target-alone`: it is there, and the other host can't be asked. `source-silent`: the source can't be
 * asked, and the target has nothing of it; `target-silent`: handed over to a target that can't be asked. `both`: both
 * run it. `moving`: not yet certain which one keeps it.
 */
export type Place =
  | "source"
  | "source-alone"
  | "source-silent"
  | "target"
  | "target-alone"
  | "target-silent"
  | "both"
  | "moving";
export type SettledPlace = Exclude<Place, "moving" | "both">;

const pollMs = 500;
const settleMs = 60_000;
const hostDeadlineMs = 5_000;
/** A host that is silent is perhaps being connected just now; and a source that is lost may have a target still to reach. */
const patienceMs = 20_000;

type Answer = { readonly guest: Guest | undefined; readonly isBusy: boolean };

export async function placeOf(deps: OperationDeps, move: Move, call: Call): Promise<Place> {
  // The job first: one that ends in between has decided before the guest is read.
  const source = await ask(deps, move.sourceId, call, async (guest, bounded) => ({
    isBusy: await guest.migration.isBusy(move.uuid, bounded),
    guest: await readGuestIfAny(guest, move.uuid, bounded),
  }));
  const target = await ask(deps, move.targetId, call, async (guest, bounded) => ({
    isBusy: false, // an incoming one is the source's to tell
    guest: await readGuestIfAny(guest, move.uuid, bounded),
  }));
  if (!(source instanceof AppError)) {
    return target instanceof AppError ? withoutTarget(move, source, target) : withBoth(move, source, target);
  }
  if (target instanceof AppError) throw source;
  return withoutSource(move, source, target);
}

/** A host's answer, or why it can't give one now. */
async function ask(
  deps: OperationDeps,
  hostId: string,
  call: Call,
  question: (guest: GuestHypervisor, call: Call) => Promise<Answer>,
): Promise<Answer | AppError> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(hostDeadlineMs)]);
  try {
    return await question(deps.providers.get(hostId).guest, { signal });
  } catch (error) {
    if (isSilence(error) && !call.signal.aborted) return error;
    throw error;
  }
}

function withBoth(move: Move, { guest: source, isBusy }: Answer, { guest: target }: Answer): Place {
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
  if (isExecuting(target)) return isExecuting(source) ? (isBusy ? "moving" : "both") : "target";
  return isActive(target) ? "moving" : "source";
}

function withoutSource(move: Move, silence: AppError, { guest: target }: Answer): Place {
  if (target === undefined) return "source-silent";
  const isThere = move.live ? isExecuting(target) && !isPostCopy(target) : target.persistent && !isActive(target);
  if (isThere) return "target-alone";
  throw silence; // its memory may be on the way; when the source is dead, the target's libvirt drops what it has
}

function withoutTarget(move: Move, { guest: source, isBusy }: Answer, silence: AppError): Place {
  if (source === undefined && move.handedOver === true) return "target-silent";
  if (source !== undefined && isBusy) return "moving";
  if (source !== undefined && isHeld(source)) return "source-alone";
  throw silence; // handed over, or in between: only the target knows
}

export function isSilence(error: unknown): error is AppError {
  return error instanceof AppError && (error.code === "host_unreachable" || error.code === "timeout");
}

/** It lives here and nobody is taking it away: it executes, or a person paused it. */
function isHeld(guest: Guest): boolean {
  return isExecuting(guest) || (guest.state === "paused" && guest.stateDetail === "user");
}

function isPostCopy(guest: Guest | undefined): boolean {
  return guest?.stateDetail.startsWith("post-copy") === true;
}

export function isExecuting(guest: Guest): boolean {
  return guest.state === "running" || guest.state === "blocked";
}

/**
 * Ends a migration that a crashed caller left running, and waits until the guest is on one host. Who is silent gets some
 * time (`patience`). Of two that run, the source's is ended: the target's has gone on from the hand-over without a gap.
 */
export async function settle(
  deps: OperationDeps,
  move: Move,
  call: Call,
  patience: readonly Place[] = ["source-alone", "source-silent", "target-alone", "target-silent"],
): Promise<SettledPlace> {
  const startMs = deps.clock.monotonicMs();
  for (;;) {
    const place = await placeOf(deps, move, call);
    const waitedMs = deps.clock.monotonicMs() - startMs;
    if (place === "both") {
      await endDouble(deps, move, call);
    } else if (place === "moving") {
      await deps.providers.get(move.sourceId).guest.migration.abortMigration(move.uuid, call).catch(unlessRefused);
      if (waitedMs > settleMs) throw unsettled();
    } else if (!patience.includes(place) || waitedMs > patienceMs) {
      return place;
    }
    await deps.clock.sleep(pollMs, call.signal);
  }
}

/** libvirt's own words for the two copies of a hand-over that went wrong; any others were made by someone else. */
export async function endDouble(deps: OperationDeps, move: Move, call: Call): Promise<void> {
  const source = await readGuestIfAny(deps.providers.get(move.sourceId).guest, move.uuid, call);
  const target = await readGuestIfAny(deps.providers.get(move.targetId).guest, move.uuid, call);
  if (source === undefined || target === undefined || !isExecuting(source) || !isExecuting(target)) return;
  if (source.stateDetail !== "migration canceled" || target.stateDetail !== "migrated") {
    throw new AppError("conflict", "Both hosts run the VM: nothing was touched.", {
      remedy: "Power off the one that should not run (virsh destroy) at once: both may write to the same disks.",
      retryable: false,
    });
  }
  deps.log.warn({ uuid: move.uuid, hostId: move.sourceId }, "both hosts run the VM: ending the source's copy");
  await deps.providers.get(move.sourceId).guest.lifecycle.forceOff(move.uuid, call);
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
  await removeGuest(guest, move.uuid, call, { keepState: move.keepsState === true });
}

/** What a guest that nobody paused is paused for when libvirt could not let it run on after a migration that failed. */
const leftStanding: readonly string[] = ["migrating", "API error", "unknown"];

/** The guest is on the source, the target has nothing of it: one that was left standing there runs on. */
export async function letRun(deps: OperationDeps, { sourceId, uuid, executed }: Move, call: Call): Promise<void> {
  const { guest } = deps.providers.get(sourceId);
  if (executed !== true) return;
  const here = await readGuestIfAny(guest, uuid, call);
  if (here?.state !== "paused" || !leftStanding.includes(here.stateDetail)) return;
  deps.log.warn({ uuid, hostId: sourceId, why: here.stateDetail }, "the guest was left standing: it is resumed");
  await guest.lifecycle.resume(uuid, call);
}
