/**
 * Moves a VM to another host: live if it runs, its definition alone if it does not. Whether it has moved is always read
 * from the two hosts, never remembered: a control plane that crashed in between finds the guest, and finishes or goes
 * back. At every instant exactly one host runs it; its disks are deleted on the source only once the target has it.
 */
import { Type } from "typebox";
import { VmMigrate, type Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call, LongCall } from "#core/call.ts";
import { childrenOf } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { deleteFiles, poolNamesOfPaths } from "#management/snapshot/merge.ts";
import { operation, type StepContext } from "#management/task/operation.ts";
import { makeDisks, poolNamesOf } from "#management/vm/disk-progress.ts";
import { removeDisks } from "#management/vm/disk-make.ts";
import type { DiskPlan } from "#management/vm/disk-plan.ts";
import { requirePersistent, requireState, vmClaim, vmTarget } from "#management/vm/lookup.ts";
import { readGuestIfAny, refuseSavedMemory } from "#management/vm/guest-read.ts";
import { isShared, requireMovable } from "#management/vm/migration-check.ts";
import { dropOther, type Move, settle } from "#management/vm/migration-place.ts";
import { migrationUri } from "#management/vm/migration-uri.ts";
import { requirePoolOfPath, sourceTypeIn, volumeNameIn } from "#management/vm/storage-reach.ts";
import { syncGuest, syncPools } from "#management/vm/sync.ts";
import type { MigrationResult } from "#virtualization/port.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan extends Move {
  readonly vmId: Vm["id"];
  readonly targetUri: string;
  /** Volumes on the target for disks that are copied. */
  readonly copies: readonly DiskPlan[];
  /** Their paths, the same on both hosts. */
  readonly copiedPaths: readonly string[];
}
type Input = { vmId: string; request: VmMigrate };

/** Migrations share the network and the disks: more at a time make each slower (vSphere: 4 on 1 Gbit/s). */
const perHostMax = 2;

export function vmMigrate(deps: OperationDeps) {
  return operation({
    name: "vm.migrate",
    input: Type.Object({ vmId: Type.String(), request: VmMigrate }),
    check(input) {
      check(deps, input);
    },
    claims(input) {
      const { vm, targetId } = check(deps, input);
      const limited = [vm.hostId, targetId].map((hostId) => ({ key: `migration:${hostId}`, max: perHostMax }));
      return { exclusive: [vmClaim(deps.inventory, vm.id)], limited };
    },
    target: ({ vmId }) => vmTarget(deps.inventory, vmId),
    steps: [
      {
        name: "plan",
        async do({ input, signal }) {
          const { vm, targetId } = check(deps, input);
          return { ...(await plan(deps, vm, targetId, input.request, { signal })) };
        },
      },
      {
        name: "volumes",
        async do(context) {
          const { targetId, copies } = context.result<Plan>("plan");
          await makeDisks(deps, context, targetId, copies);
        },
        undo: (context) => undoVolumes(deps, context),
      },
      {
        name: "move",
        async do({ input, result, signal, progress }) {
          const moving = result<Plan>("plan");
          const onProgress = (done: number, total: number): void =>
            progress({ done, total, unit: "byte" }, "moving the guest");
          return { ...(await move(deps, moving, input.request, { signal, onProgress })) };
        },
        undo: (context) => undoMove(deps, context),
      },
      {
        name: "finish",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const moved = result<Plan>("plan");
          if ((await settle(deps, moved, { signal })) !== "target") {
            throw new AppError("conflict", "The VM is on its old host again; nothing there was touched.");
          }
          await dropOther(deps, moved, "target", { signal });
          const kept = await deleteCopied(deps, moved, { signal });
          return { kept };
        },
      },
      {
        name: "sync",
        async do(context) {
          const moved = context.result<Plan>("plan");
          await syncBoth(deps, context, moved);
          await syncPools(deps, context, moved.targetId, poolNamesOf(moved.copies));
          const { sourceId, copiedPaths } = moved;
          await syncPools(deps, context, sourceId, poolNamesOfPaths(deps, sourceId, copiedPaths));
        },
      },
    ],
    outcome({ result, resultIfAny }) {
      const { live, targetId, sourceId } = result<Plan>("plan");
      const figures = result<Partial<MigrationResult>>("move");
      const keptVolumes = resultIfAny<{ kept: string[] }>("finish")?.kept ?? [];
      return { live, fromHostId: sourceId, toHostId: targetId, ...figures, keptVolumes };
    },
  });
}

function check(deps: OperationDeps, { vmId, request }: Input): { vm: Vm; targetId: string } {
  const vm = deps.inventory.require("vm", vmId, { field: "vmId" });
  const target = deps.inventory.require("host", request.host, { field: "host" });
  requireState(vm, "migrate", "migrated");
  requirePersistent(vm, "migrated");
  deps.providers.get(vm.hostId);
  requireMovable(deps.inventory, vm, target, request);
  return { vm, targetId: target.id };
}

/** The target first: the VM's document moves, and is never without a host. */
async function syncBoth(deps: OperationDeps, context: StepContext<Input>, move: Move): Promise<void> {
  const { sourceId, targetId, uuid } = move;
  await syncGuest(deps, context, { hostId: targetId, uuid });
  await syncGuest(deps, context, { hostId: sourceId, uuid });
}

/** A guest that had moved before it could be stopped (it was cancelled in the last moment) moves back. */
async function undoMove(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const moved = context.resultIfAny<Plan>("plan");
  if (moved === undefined) return;
  const call = { signal: context.signal };
  const place = await settle(deps, moved, call);
  if (place !== "source-alone") await dropOther(deps, moved, place, call);
  await syncBoth(deps, context, moved);
  if (place !== "target") return;
  try {
    await moveBack(deps, moved, call);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const host = deps.inventory.get("host", moved.targetId)?.name ?? moved.targetId;
    const message = `The VM had moved to host ${host} before it could be stopped, and can't move back: ${error.message}`;
    throw new AppError(error.code, message, { cause: error, retryable: error.retryable });
  }
  await syncBoth(deps, context, { ...moved, sourceId: moved.targetId, targetId: moved.sourceId });
}

async function moveBack(deps: OperationDeps, moved: Plan, call: Call): Promise<void> {
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
  await send(deps, back, { host: home.id, autoConverge: true }, call);
}

async function undoVolumes(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const moved = context.resultIfAny<Plan>("plan");
  if (moved === undefined || moved.copies.length === 0) return;
  const place = await settle(deps, moved, { signal: context.signal });
  if (place === "target") return;
  if (place === "source-alone") {
    const left = moved.copiedPaths.join(", ");
    const message = `The target host can't be reached: unfinished copies of disks may be left there (${left}).`;
    throw new AppError("host_failed", message, { remedy: "Delete them when the host is back." });
  }
  await removeDisks(deps, moved.targetId, moved.copies, { signal: context.signal });
  await syncPools(deps, context, moved.targetId, poolNamesOf(moved.copies));
}

async function plan(deps: OperationDeps, vm: Vm, targetId: string, request: VmMigrate, call: Call): Promise<Plan> {
  const now = await deps.providers.get(vm.hostId).guest.inventory.read(vm.uuid, call);
  const present = { ...vm, state: now.state, spec: now.spec };
  const target = deps.inventory.require("host", targetId);
  requireState(present, "migrate", "migrated");
  requireMovable(deps.inventory, present, target, request);
  refuseSavedMemory(now, "be moved to another host");
  if ((await readGuestIfAny(deps.providers.get(targetId).guest, vm.uuid, call)) !== undefined) {
    throw new AppError("conflict", `Host ${target.name} has a VM of the same UUID already; nothing was touched.`, {
      field: "host",
      remedy: "Look at it with virsh on that host; a left-over definition goes with virsh undefine.",
    });
  }
  const targetUri = migrationUri(target);
  if (targetUri === undefined) throw new AppError("internal", "a target without an address passed the check");
  const copied = now.spec.disks.filter(
    (disk) => disk.device === "disk" && !isShared(deps.inventory, vm, targetId, disk),
  );
  const copies: DiskPlan[] = [];
  for (const disk of copied) copies.push(await planCopy(deps, vm, targetId, disk, isActive(now), call));
  const copiedPaths = copied.flatMap((disk) => disk.source ?? []);
  const { hostId: sourceId, uuid, id: vmId } = vm;
  return { sourceId, targetId, uuid, vmId, targetUri, live: isActive(now), copies, copiedPaths };
}

/** A running guest's content is sent by the hypervisor into an empty volume; a stopped one's through the control plane. */
async function planCopy(
  deps: OperationDeps,
  vm: Vm,
  targetId: string,
  disk: VmDisk,
  live: boolean,
  call: Call,
): Promise<DiskPlan> {
  const { source = "", format: stated = "raw", sourceType: _type, backingChain: _chain, ...device } = disk;
  const what = `Disk ${disk.target} of VM ${vm.name}`;
  const own = requirePoolOfPath(deps.inventory, vm.hostId, source, what);
  const there = requirePoolOfPath(deps.inventory, targetId, source, what);
  const stored = await deps.providers.get(vm.hostId).storage.volume.findVolumeByPath(source, call);
  if (stored === undefined) throw new AppError("not_found", `${what} (${source}) is gone from its storage.`);
  const name = volumeNameIn(there, source);
  if ((await deps.providers.get(targetId).storage.volume.findVolume(there.name, name, call)) !== undefined) {
    throw new AppError("conflict", `${what}: the target host has another file of that name; nothing was touched.`, {
      field: "copyDisks",
      remedy: "Move it away.",
    });
  }
  const volume = {
    poolName: there.name,
    volumeName: name,
    sourceType: sourceTypeIn(there),
    format: stated === "qcow2" ? "qcow2" : "raw",
    capacityBytes: stored.capacityBytes,
  } as const;
  const origin = live
    ? ({ kind: "new", ...volume } as const)
    : ({
        kind: "transfer",
        source: { hostId: vm.hostId, poolName: own.name, name: volumeNameIn(own, source) },
        ...volume,
      } as const);
  return { disk: device, origin };
}

async function move(
  deps: OperationDeps,
  moving: Plan,
  request: VmMigrate,
  call: LongCall,
): Promise<Partial<MigrationResult>> {
  // Done again after a crash, it may have moved, or be about to.
  const place = await settle(deps, moving, call);
  if (place === "target") return {};
  if (place === "source-alone") {
    const message = "The target host can't be reached; the VM stays where it is.";
    throw new AppError("host_unreachable", message, { retryable: false });
  }
  return send(deps, moving, request, call);
}

async function send(
  deps: OperationDeps,
  moving: Plan,
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
  const { bandwidthMiBps, maxDowntimeMs, postCopy, autoConverge } = request;
  const options = {
    targetUri,
    copyDisks: moving.copies.map((copy) => copy.disk.target),
    postCopy: postCopy ?? false,
    autoConverge: autoConverge ?? false,
    ...(bandwidthMiBps === undefined ? {} : { bandwidthMiBps }),
    ...(maxDowntimeMs === undefined ? {} : { maxDowntimeMs }),
  };
  return migration.migrateLive(uuid, options, call);
}

/** The source's copies, unless someone there still reads them. Returns the paths that stay. */
async function deleteCopied(deps: OperationDeps, moved: Plan, call: Call): Promise<string[]> {
  if (moved.copiedPaths.length === 0) return [];
  const world = await readWorld(deps, moved.sourceId, [], call);
  const isNeeded = (path: string): boolean =>
    childrenOf(world, path).length > 0 || world.holds.some((hold) => hold.path === path && hold.id !== moved.vmId);
  const doomed = moved.copiedPaths.filter((path) => !isNeeded(path));
  const outside = await deleteFiles(deps, moved.sourceId, doomed, call);
  return [...moved.copiedPaths.filter(isNeeded), ...outside];
}
