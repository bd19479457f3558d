/**
 * Moves a VM to another host: live if it runs, its definition and what its host keeps beside it if it does not. Whether
 * it has moved is always read from the two hosts, never remembered: a control plane that crashed or lost a host in between
 * finds the guest, and finishes or goes back. At every instant one host has it; its disks are deleted on the source only
 * once the target has it. What a host that can't be asked still has is removed when it is back (migration-leftover.ts).
 */
import { Type } from "typebox";
import { VmMigrate, type Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call, LongCall } from "#core/call.ts";
import { volumesOfPaths } from "#management/snapshot/merge.ts";
import { planStep } from "#management/task/claimed-plan.ts";
import { operation, type StepContext } from "#management/task/operation.ts";
import type { VolumeRef } from "#management/vm/guest-file.ts";
import { readGuestIfAny } from "#management/vm/guest-read.ts";
import { vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { requireMovable } from "#management/vm/migration-check.ts";
import { knownFacts } from "#management/vm/migration-fact.ts";
import { cleanLeftovers, deleteCopied, type Leftover, rememberLeftover } from "#management/vm/migration-leftover.ts";
import { dropOther, isSilence, letRun, type Move, settle, type SettledPlace } from "#management/vm/migration-place.ts";
import { type MigrationPlan, planMigration, sourcesOf } from "#management/vm/migration-plan.ts";
import { migrationUri } from "#management/vm/migration-uri.ts";
import {
  begunCopies,
  type DiskCopy,
  fillCopies,
  makeCopies,
  type MadeCopies,
  removeCopies,
} from "#management/vm/migration-volume.ts";
import { syncGuest, syncPools } from "#management/vm/sync.ts";
import type { MigrationResult } from "#virtualization/migration/port.ts";
import type { OperationDeps } from "./deps.ts";

type Input = { vmId: string; request: VmMigrate };
type Context = StepContext<Input>;

/** How long a host that was lost meanwhile is waited for, when only it can say where the guest is. */
const lostMs = 10 * 60_000;
const lostPollMs = 1_000;

export function vmMigrate(deps: OperationDeps) {
  return operation({
    name: "vm.migrate",
    input: Type.Object({ vmId: Type.String(), request: VmMigrate }),
    check(input) {
      check(deps, input);
    },
    claims(input) {
      return { exclusive: [vmClaim(deps.inventory, check(deps, input).vm.id)] };
    },
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      planStep(
        deps.inventory,
        ({ input, signal }: Context) => {
          const { vm, targetId } = check(deps, input);
          return planMigration(deps, vm, targetId, input.request, { signal });
        },
        (planned) => ({ hostId: planned.targetId, volumes: copiesOf(planned) }),
      ),
      {
        name: "volumes",
        async do(context) {
          const { targetId, copies } = context.result<MigrationPlan>("plan");
          return { ...(await makeCopies(deps, targetId, copies, context)) };
        },
        undo: (context) => undoVolumes(deps, context),
      },
      { name: "content", isNeedless: isFilled, do: (context) => fill(deps, context) },
      {
        name: "state",
        do: ({ result, signal }) => copyState(deps, result<MigrationPlan>("plan"), { signal }),
        undo: (context) => undoState(deps, context),
      },
      {
        name: "move",
        async do({ input, result, signal, progress }) {
          const moving = result<MigrationPlan>("plan");
          const onProgress = (done: number, total: number): void =>
            progress({ done, total, unit: "byte" }, "moving the guest");
          return { ...(await move(deps, moving, input.request, { signal, onProgress })) };
        },
        undo: (context) => undoMove(deps, context),
      },
      { name: "finish", pointOfNoReturn: true, do: (context) => finish(deps, context) },
      { name: "sync", do: (context) => sync(deps, context) },
    ],
    outcome({ result, resultIfAny }) {
      const { live, targetId, sourceId, findings } = result<MigrationPlan>("plan");
      const figures = result<Partial<MigrationResult>>("move");
      const keptVolumes = resultIfAny<{ kept: string[] }>("finish")?.kept ?? [];
      return { live, fromHostId: sourceId, toHostId: targetId, ...figures, keptVolumes, findings };
    },
  });
}

/** From what is known without asking a host; `plan` asks. */
function check(deps: OperationDeps, { vmId, request }: Input): { vm: Vm; targetId: string } {
  const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
  const target = deps.inventory.require("host", request.host, { field: "host" });
  deps.providers.get(vm.hostId);
  requireMovable(knownFacts(deps.inventory, vm, target, request));
  return { vm, targetId: target.id };
}

async function sync(deps: OperationDeps, context: Context): Promise<void> {
  const moved = context.result<MigrationPlan>("plan");
  const { sourceId, targetId, copiedPaths } = moved;
  await syncBoth(deps, context, moved);
  await follow(deps, context, moved);
  await syncPools(deps, context, targetId, copiesOf(moved));
  await syncPools(deps, context, sourceId, volumesOfPaths(deps, sourceId, copiedPaths));
  await cleanLeftovers(deps, context);
}

/** The target first: the VM's document moves, and is never without a host. */
async function syncBoth(deps: OperationDeps, context: Context, { sourceId, targetId, uuid }: Move): Promise<void> {
  await syncGuest(deps, context, { hostId: targetId, uuid });
  await syncGuest(deps, context, { hostId: sourceId, uuid });
}

/** It has moved: where a host that can't be asked left its document behind, that goes along all the same. */
async function follow(deps: OperationDeps, context: Context, moved: MigrationPlan): Promise<void> {
  const { vmId, uuid, targetId, sourceId } = moved;
  if (deps.inventory.get("vm", vmId)?.hostId !== sourceId) return;
  const target = deps.inventory.require("host", targetId);
  const stateDetail = `it moved to host ${target.name}, which can't be reached now`;
  await deps.store.transaction(async (transaction) => {
    const vm = await transaction.get("vm", vmId);
    if (vm?.hostId !== sourceId) return;
    await transaction.put("vm", { ...vm, hostId: target.id, state: "unknown", stateDetail });
  });
  await syncGuest(deps, context, { hostId: targetId, uuid });
}

/** Or the hypervisor fills them. */
function isFilled({ result }: Pick<Context, "result">): boolean {
  const { made, taken } = result<MadeCopies>("volumes");
  return taken === undefined && made.every(({ source }) => source === undefined);
}

async function fill(deps: OperationDeps, context: Context): Promise<void> {
  const { targetId, vmName } = context.result<MigrationPlan>("plan");
  const { made, taken } = context.result<MadeCopies>("volumes");
  if (taken !== undefined) {
    const message = `The target host has a volume ${taken} by now that is not known to be this migration's; it was left as it is, and VM ${vmName} where it was.`;
    const remedy = "Move it away; or delete it, if Innkeeper ended while it was made.";
    throw new AppError("name_taken", message, { field: "copyDisks", remedy });
  }
  await fillCopies(deps, context, targetId, made);
}

function copiesOf({ copies }: MigrationPlan): VolumeRef[] {
  return copies.map(({ volume }) => volume);
}

async function copyState(
  deps: OperationDeps,
  { live, stateFiles, ...moving }: MigrationPlan,
  call: Call,
): Promise<void> {
  if (live || stateFiles.length === 0) return;
  const { sourceId, targetId, uuid } = moving;
  const files = await deps.providers.get(sourceId).guest.migration.readState(uuid, call);
  await deps.providers.get(targetId).guest.migration.writeState(uuid, files, call);
}

async function move(
  deps: OperationDeps,
  moving: MigrationPlan,
  request: VmMigrate,
  call: LongCall,
): Promise<Partial<MigrationResult>> {
  // Done again after a crash, it may have moved, or be about to.
  const place = await settle(deps, moving, call);
  if (isArrived(place)) return {};
  if (place !== "source") throw lost(deps, moving, place);
  await requireSameDisks(deps, moving, call);
  const { migration } = deps.providers.get(moving.sourceId).guest;
  try {
    if (moving.autostart) await migration.setAutostart(moving.uuid, false, call);
    return await send(deps, moving, request, call);
  } catch (error) {
    // Cancelled: the undo looks where it is. Else it may have arrived, and only the answer was lost.
    if (call.signal.aborted || !(error instanceof AppError)) throw error;
    const after = await placeAfter(deps, moving, call);
    if (isArrived(after)) return {};
    // The undo tries it, too, and for longer.
    if (after === "source") await letRun(deps, moving, call).catch(() => undefined);
    throw await stayed(deps, moving, error, call);
  }
}

/**
 * A layer that virsh put on a disk since, or another medium, is on no other host: the VM would come without it. And what
 * was written to a disk while it was copied (by a VM that was started and stopped again) would be lost.
 */
async function requireSameDisks(deps: OperationDeps, { sourceId, uuid, sources, copies }: MigrationPlan, call: Call) {
  const { guest, storage } = deps.providers.get(sourceId);
  const { spec } = await guest.inventory.read(uuid, call);
  const changed = sourcesOf(spec)
    .filter((each) => !sources.includes(each))
    .map((each) => `now ${each}`);
  for (const { target, source } of copies) {
    if (source === undefined) continue;
    const writtenAt = await storage.volume.writtenAt(source.poolName, source.name, call);
    if (writtenAt !== source.writtenAt) changed.push(`${target} was written to`);
  }
  if (changed.length === 0) return;
  const message = `The VM's disks were changed on its host meanwhile (${changed.join(", ")}); it was not moved.`;
  throw new AppError("conflict", message, { remedy: "Look at the VM and move it again." });
}

function isArrived(place: SettledPlace): boolean {
  return place === "target" || place === "target-alone" || place === "target-silent";
}

/** What came of it, besides why. */
async function stayed(
  deps: OperationDeps,
  { sourceId, uuid, live, vmName }: MigrationPlan,
  { code, message, remedy, fault }: AppError,
  call: Call,
): Promise<AppError> {
  const host = deps.inventory.get("host", sourceId)?.name ?? sourceId;
  const here = await readGuestIfAny(deps.providers.get(sourceId).guest, uuid, call).catch(() => undefined);
  const now =
    here === undefined
      ? `belongs to host ${host}, which can't be asked now`
      : live && !isActive(here)
        ? `is on host ${host}, and is off: it went off while it moved`
        : `is on host ${host} as before (${here.state})`;
  return new AppError(code, `${message.replace(/\.$/, "")}. VM ${vmName} ${now}.`, {
    ...(remedy === undefined ? {} : { remedy }),
    ...(fault === undefined ? {} : { fault }),
    retryable: false,
  });
}

function lost(deps: OperationDeps, { sourceId, targetId }: Move, place: SettledPlace): AppError {
  const name = (id: string): string => deps.inventory.get("host", id)?.name ?? id;
  const message =
    place === "source-silent"
      ? `Host ${name(sourceId)} can't be reached, and the VM has not arrived on host ${name(targetId)}: it is where it was.`
      : `Host ${name(targetId)} can't be reached; the VM stays where it is.`;
  return new AppError("host_unreachable", message, { retryable: false });
}

/** Where it is after a migration that ended in an error; hosts that were lost are waited for where only they can tell. */
async function placeAfter(deps: OperationDeps, moving: Move, call: Call): Promise<SettledPlace> {
  const startMs = deps.clock.monotonicMs();
  for (;;) {
    try {
      return await settle(deps, moving, call, ["source-silent", "target-silent"]);
    } catch (error) {
      if (!isSilence(error) || deps.clock.monotonicMs() - startMs > lostMs) throw error;
    }
    await deps.clock.sleep(lostPollMs, call.signal);
  }
}

async function send(
  deps: OperationDeps,
  moving: MigrationPlan,
  request: VmMigrate,
  call: LongCall,
): Promise<Partial<MigrationResult>> {
  const { migration } = deps.providers.get(moving.sourceId).guest;
  const { uuid, targetUri } = moving;
  const startMs = deps.clock.monotonicMs();
  if (!moving.live) {
    await migration.migrateOffline(uuid, { targetUri }, call);
    return { totalMs: Math.round(deps.clock.monotonicMs() - startMs), downtimeMs: 0 };
  }
  const { bandwidthMiBps, maxDowntimeMs, postCopy, autoConverge, encrypt } = request;
  const options = {
    targetUri,
    copyDisks: moving.copies.map(({ target }) => target),
    postCopy: postCopy ?? false,
    autoConverge: autoConverge ?? false,
    encrypt: encrypt ?? false,
    ...(bandwidthMiBps === undefined ? {} : { bandwidthMiBps }),
    ...(maxDowntimeMs === undefined ? {} : { maxDowntimeMs }),
  };
  return migration.migrateLive(uuid, options, call);
}

/** Nobody comes back from here: what the source has left of it goes, now or when it can be asked. */
async function finish(deps: OperationDeps, context: Context): Promise<{ kept: string[] }> {
  const { result, signal } = context;
  const moved = result<MigrationPlan>("plan");
  const call = { signal };
  const handedOver = result<Partial<MigrationResult>>("move").totalMs !== undefined;
  const place = await settle(deps, { ...moved, handedOver }, call, ["target-alone", "target-silent"]);
  const { sourceId, targetId, uuid, stateFiles, autostart, vmId, copiedPaths } = moved;
  if (!isArrived(place)) {
    throw new AppError("conflict", "The VM is on its old host again; nothing there was touched.");
  }
  if (place === "target-silent") await leave(deps, context, targetId);
  else if (autostart) await deps.providers.get(targetId).guest.migration.setAutostart(uuid, true, call);
  if (place === "target-alone") {
    await leave(deps, context, sourceId);
    return { kept: [] };
  }
  if (place === "target") await dropOther(deps, moved, "target", call);
  const kept = await deleteCopied(deps, { hostId: sourceId, vmId, uuid, copiedPaths }, call);
  await deps.providers.get(sourceId).guest.migration.deleteState({ uuid, paths: stateFiles }, call);
  return { kept };
}

/** For when that host is back. */
async function leave(deps: OperationDeps, context: Context, hostId: string): Promise<void> {
  const plan = context.result<MigrationPlan>("plan");
  const { vmId, vmName, uuid, copiedPaths, stateFiles, keepsState = false, autostart, targetId } = plan;
  const own = hostId === targetId ? { copies: ownCopies(context), copiedPaths: [] } : { copies: [], copiedPaths };
  const leftover: Leftover = { hostId, vmId, vmName, uuid, ...own, stateFiles, keepsState, autostart };
  await rememberLeftover(deps, leftover);
}

/** A guest that had moved before it could be stopped (it was cancelled in the last moment) moves back. */
async function undoMove(deps: OperationDeps, context: Context): Promise<void> {
  const moved = context.resultIfAny<MigrationPlan>("plan");
  if (moved === undefined) return;
  const call = { signal: context.signal };
  const { sourceId, targetId, uuid } = moved;
  const place = await settle(deps, moved, call);
  if (place === "source" || place === "target") await dropOther(deps, moved, place, call);
  if (place === "source") await letRun(deps, moved, call);
  if (place === "source-alone") await leave(deps, context, targetId);
  if (place === "source-silent" || place === "target-alone") await leave(deps, context, sourceId);
  const isHere = place === "source" || place === "source-alone";
  if (isHere && moved.autostart) await deps.providers.get(sourceId).guest.migration.setAutostart(uuid, true, call);
  await syncBoth(deps, context, moved);
  if (!isArrived(place)) return await cleanLeftovers(deps, call);
  try {
    if (place !== "target") throw lost(deps, { ...moved, sourceId: targetId, targetId: sourceId }, "source-alone");
    await moveBack(deps, moved, call);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const host = deps.inventory.get("host", moved.targetId)?.name ?? moved.targetId;
    const message = `The VM had moved to host ${host} before it could be stopped, and can't move back: ${error.message}`;
    throw new AppError(error.code, message, { cause: error, retryable: error.retryable });
  }
  await syncBoth(deps, context, { ...moved, sourceId: moved.targetId, targetId: moved.sourceId });
}

async function moveBack(deps: OperationDeps, moved: MigrationPlan, call: Call): Promise<void> {
  const home = deps.inventory.require("host", moved.sourceId);
  const targetUri = migrationUri(home);
  if (targetUri === undefined) {
    throw new AppError(
      "unsupported",
      `host ${home.name} is managed through a local socket, which no guest can move to.`,
    );
  }
  const live = isActive(await deps.providers.get(moved.targetId).guest.inventory.read(moved.uuid, call));
  const back = { ...moved, sourceId: moved.targetId, targetId: moved.sourceId, targetUri, live };
  await copyState(deps, back, call);
  await send(deps, back, { host: home.id, autoConverge: true }, call);
  const { migration } = deps.providers.get(moved.sourceId).guest;
  if (moved.autostart) await migration.setAutostart(moved.uuid, true, call);
}

async function undoVolumes(deps: OperationDeps, context: Context): Promise<void> {
  const moved = context.resultIfAny<MigrationPlan>("plan");
  if (moved === undefined || moved.copies.length === 0) return;
  const { targetId } = moved;
  const place = await settle(deps, moved, { signal: context.signal }, []);
  if (isArrived(place)) return;
  if (place === "source-alone") return await leave(deps, context, targetId);
  await removeCopies(deps, targetId, ownCopies(context), { signal: context.signal });
  await syncPools(deps, context, targetId, copiesOf(moved));
}

/** What was made, or, when that was never stored, may have been made. */
function ownCopies(context: Context): readonly DiskCopy[] {
  const stored = context.resultIfAny<MadeCopies>("volumes");
  return stored?.made ?? begunCopies(context.result<MigrationPlan>("plan").copies, context);
}

async function undoState(deps: OperationDeps, context: Context): Promise<void> {
  const moved = context.resultIfAny<MigrationPlan>("plan");
  if (moved === undefined || moved.stateFiles.length === 0) return;
  const { targetId, uuid, stateFiles } = moved;
  const place = await settle(deps, moved, { signal: context.signal }, []);
  if (isArrived(place)) return;
  if (place === "source-alone") return await leave(deps, context, targetId);
  await deps.providers.get(targetId).guest.migration.deleteState({ uuid, paths: stateFiles }, context);
}
