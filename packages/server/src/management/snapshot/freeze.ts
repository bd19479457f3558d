/**
 * Freezing the present layers of a VM's disks under new overlays, and taking that back. Invariant: nothing that a guest
 * wrote is lost by taking it back: the overlays are merged down, never just dropped. Facts: external snapshots without
 * libvirt's metadata (libvirt 9.0 refuses to revert its own external ones); a stopped guest merges started paused.
 */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { bytesPerMiB } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";
import type { Call, LongCall } from "#core/call.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { StepContext } from "#management/task/operation.ts";
import { choosePool, requireRoom } from "#management/vm/disk-pool.ts";
import { removeVolume, type VolumeRef } from "#management/vm/guest-file.ts";
import { isWritten, refuseDisks, refuseUnsavable } from "#management/vm/device-rule.ts";
import { readGuestIfAny, refuseSavedMemory } from "#management/vm/guest-read.ts";
import { isFilePool, poolOfPath, requirePoolOfPath, volumeNameIn } from "#management/vm/storage-reach.ts";
import { memoryVolumeName, overlayVolumeName } from "#management/vm/volume-name.ts";
import type { Guest } from "#virtualization/port.ts";
import { requireFormatsTold } from "./backing-format.ts";

const jobPollMs = 250;
/** A job is waited for so long, then the step is tried again. */
const jobWaitMs = 120_000;

export interface FileRef extends VolumeRef {
  readonly path: string;
}

interface FrozenDisk {
  readonly target: string;
  readonly frozen: { readonly path: string; readonly format: string };
  readonly overlay: FileRef;
}

export interface FreezePlan {
  readonly hostId: string;
  readonly uuid: string;
  readonly disks: readonly FrozenDisk[];
  readonly memory?: FileRef;
  /** Whether the guest ran when the plan was made. */
  readonly wasActive: boolean;
}

/** `id` makes the names of the overlays unique: a snapshot's id, or a task's. */
export async function planFreeze(
  deps: Pick<OperationDeps, "inventory" | "providers">,
  vm: Vm,
  guest: Guest,
  id: string,
  options: { readonly memory: boolean },
  call: Call,
): Promise<FreezePlan> {
  refuseForeignSnapshots(guest);
  refuseSavedMemory(guest, "be snapshotted");
  const written = guest.spec.disks.filter(isWritten);
  refuseDisks(vm, written, "freeze", "be snapshotted, nor copied while it runs");
  if (options.memory) refuseUnsavable({ name: vm.name, spec: guest.spec }, "be snapshotted with its memory");
  const disks = written.flatMap((disk): FrozenDisk[] => {
    if (disk.source === undefined) return [];
    const what = `Disk ${disk.target} of VM ${vm.name}`;
    const frozen = { path: disk.source, format: disk.format ?? "raw" };
    const name = overlayVolumeName(vm, disk.target, id);
    return [{ target: disk.target, frozen, overlay: fileIn(deps, vm, disk.source, what, name) }];
  });
  const { volume } = deps.providers.get(vm.hostId).storage;
  await Promise.all(
    disks.map(({ target, frozen }) => requireFormatsTold(volume, `Disk ${target} of VM ${vm.name}`, frozen.path, call)),
  );
  const [first] = disks;
  if (first === undefined) throw new AppError("unsupported", `VM ${vm.name} has no disk that could be frozen.`);
  const memory = options.memory ? { memory: memoryFile(deps, vm, first.overlay, memoryVolumeName(vm, id)) } : {};
  return { hostId: vm.hostId, uuid: vm.uuid, disks, ...memory, wasActive: isActive(guest) };
}

/** Beside the overlays, if there is room for all of the guest's memory. */
function memoryFile(deps: Pick<OperationDeps, "inventory">, vm: Vm, overlay: FileRef, name: string): FileRef {
  const what = `The memory of VM ${vm.name}`;
  const pool = requirePoolOfPath(deps.inventory, vm.hostId, overlay.path, what);
  requireRoom(pool, vm.spec.memory.sizeMiB * bytesPerMiB, what.replace("The", "the"), "memory");
  return fileIn(deps, vm, overlay.path, what, name);
}

/** Beside the disk if it is a file; else in the roomiest pool of files. */
function fileIn(deps: Pick<OperationDeps, "inventory">, vm: Vm, beside: string, what: string, name: string): FileRef {
  const { inventory } = deps;
  const own = requirePoolOfPath(inventory, vm.hostId, beside, what);
  const pool = isFilePool(own)
    ? own
    : choosePool({ inventory, host: inventory.require("host", vm.hostId) }, {}, "host", isFilePool);
  return { poolName: pool.name, name, path: `${pool.path ?? ""}/${name}` };
}

export function filesOf(plan: FreezePlan): VolumeRef[] {
  return [...plan.disks.map(({ overlay }) => overlay), ...(plan.memory === undefined ? [] : [plan.memory])];
}

/** What `thaw` changes in the storage: its files go, and what they held is in the layers below. */
export function thawedFiles(inventory: Inventory, plan: FreezePlan): VolumeRef[] {
  const merged = plan.disks.flatMap(({ frozen }): VolumeRef[] => {
    const pool = poolOfPath(inventory, plan.hostId, frozen.path);
    return pool === undefined ? [] : [{ poolName: pool.name, name: volumeNameIn(pool, frozen.path) }];
  });
  return [...filesOf(plan), ...merged];
}

export function refuseForeignSnapshots(guest: Pick<Guest, "name" | "foreignSnapshotCount">): void {
  if (guest.foreignSnapshotCount === 0) return;
  throw new AppError(
    "unsupported",
    `VM ${guest.name} has snapshots in libvirt's own keeping (${guest.foreignSnapshotCount}), made by virsh or virt-manager; mixing both kinds destroys disks. Nothing was changed.`,
    { remedy: `Delete them first: \`inn snapshot list ${guest.name}\` shows them, \`inn snapshot delete\` deletes.` },
  );
}

/** Idempotent: a guest whose disks are on the overlays already is fine; what a `repeated` attempt left is removed. */
export async function freeze(
  deps: OperationDeps,
  plan: FreezePlan,
  options: { readonly quiesce: boolean; readonly repeated: boolean },
  call: LongCall,
): Promise<void> {
  const { guest } = deps.providers.get(plan.hostId);
  await waitForJobs(deps, plan, call);
  if (options.repeated) {
    const { disks } = (await guest.inventory.read(plan.uuid, call)).spec;
    const source = (name: string): string | undefined => disks.find(({ target }) => target === name)?.source;
    const isUntouched = plan.disks.every(({ target, frozen }) => source(target) === frozen.path);
    if (isUntouched) await removeFiles(deps, plan, call);
  }
  const overlays = new Map(plan.disks.map(({ target, overlay }) => [target, overlay.path]));
  const layers = new Map(plan.disks.map(({ target, frozen }) => [target, frozen.path]));
  const memory = plan.memory === undefined ? {} : { memoryPath: plan.memory.path };
  await guest.snapshot.freeze(plan.uuid, { overlays, layers, quiesce: options.quiesce, ...memory }, call);
}

/**
 * conflict if someone put a layer on one of the overlays: deleting that would destroy what the guest writes now. What runs
 * tells its chain; for the rest the files themselves are looked at.
 */
async function refuseCovered(deps: OperationDeps, guest: Guest, plan: FreezePlan, call: Call): Promise<void> {
  const { pool, volume } = deps.providers.get(plan.hostId).storage;
  for (const { target, overlay } of plan.disks) {
    const disk = guest.spec.disks.find((each) => each.target === target);
    if (disk?.source === overlay.path) continue;
    await pool.refreshPool(overlay.poolName, call);
    const above = (await volume.listVolumes(overlay.poolName, call)).find((each) => each.backingPath === overlay.path);
    const isInChain = disk?.backingChain?.includes(overlay.path) === true;
    if (above === undefined && !isInChain) continue;
    const layer = above?.path ?? disk?.source ?? "a layer";
    const message = `${layer} lies on ${overlay.path}, disk ${target} of VM ${guest.name}: someone else made it meanwhile. Both were left as they are.`;
    throw new AppError("conflict", message, {
      remedy: `Merge it on the host: virsh blockcommit ${guest.name} ${target} --active --pivot --shallow.`,
    });
  }
}

/** Idempotent. Of a guest that is gone the overlays stay, for they hold its data; its saved memory is of no use. */
export async function thaw(deps: OperationDeps, context: MergeContext, plan: FreezePlan): Promise<void> {
  const call = { signal: context.signal };
  const { guest } = deps.providers.get(plan.hostId);
  if ((await readGuestIfAny(guest, plan.uuid, call)) === undefined) {
    if (plan.memory !== undefined) await removeVolume(deps, plan.hostId, plan.memory, call);
    return;
  }
  await waitForJobs(deps, plan, call);
  const now = await guest.inventory.read(plan.uuid, call);
  await refuseCovered(deps, now, plan, call);
  const switched = switchedDisks(now, plan);
  if (switched.length > 0) {
    await whileActive(deps, context, plan, async () => {
      for (const { target, overlay, frozen } of switched) {
        const layers = { target, topPath: overlay.path, basePath: frozen.path };
        await guest.snapshot.mergeDown(plan.uuid, layers, call);
      }
    });
  }
  await removeFiles(deps, plan, call);
}

function switchedDisks(guest: Guest, plan: FreezePlan): FrozenDisk[] {
  return plan.disks.filter(({ target, overlay }) =>
    guest.spec.disks.some((disk) => disk.target === target && disk.source === overlay.path),
  );
}

async function removeFiles(deps: OperationDeps, plan: FreezePlan, call: Call): Promise<void> {
  for (const file of filesOf(plan)) await removeVolume(deps, plan.hostId, file, call);
}

/** A snapshot whose caller crashed or gave up goes on in the host's daemon: its files must not be taken away meanwhile. */
async function waitForJobs(deps: OperationDeps, plan: FreezePlan, call: Call): Promise<void> {
  const { migration } = deps.providers.get(plan.hostId).guest;
  const deadlineMs = deps.clock.monotonicMs() + jobWaitMs;
  while (await migration.isBusy(plan.uuid, call)) {
    if (deps.clock.monotonicMs() > deadlineMs) {
      throw new AppError("timeout", "The host still works on an earlier job of this VM; nothing was touched.", {
        remedy: "See `virsh domjobinfo` on its host; `virsh domjobabort` ends the job.",
      });
    }
    await deps.clock.sleep(jobPollMs, call.signal);
  }
}

type MergeContext = Pick<StepContext<unknown>, "keep" | "resultIfAny" | "signal">;
type GuestRef = Pick<FreezePlan, "hostId" | "uuid">;

/** Under which a task keeps that it starts the guest for a merge: what anyone else has started is not its to stop. */
const startedKey = "started for a merge";

/** Runs `work` on a guest that has a process: one that is off is started paused for it, and stopped again. */
export async function whileActive(
  deps: OperationDeps,
  context: MergeContext,
  ref: GuestRef,
  work: () => Promise<void>,
): Promise<void> {
  await startPaused(deps, context, ref);
  try {
    await work();
  } finally {
    // Also after a failure: nobody asked for a guest that stays paused.
    await stopPaused(deps, context, ref);
  }
}

export async function startPaused(deps: OperationDeps, context: MergeContext, { hostId, uuid }: GuestRef) {
  const { guest } = deps.providers.get(hostId);
  const call = { signal: context.signal };
  const now = await guest.inventory.read(uuid, call);
  if (isActive(now)) return;
  // Started, it would go on from the saved memory, which stopping it would then lose.
  refuseSavedMemory(now, "be started for a merge of its layers");
  await context.keep(startedKey, { uuid });
  await guest.lifecycle.start(uuid, { paused: true }, call);
}

/** Stops what startPaused started, also before a crash. A guest that runs was started by someone meanwhile: it goes on. */
export async function stopPaused(deps: OperationDeps, context: MergeContext, { hostId, uuid }: GuestRef) {
  if (context.resultIfAny(startedKey) === undefined) return;
  const { guest } = deps.providers.get(hostId);
  const call = { signal: context.signal };
  if ((await readGuestIfAny(guest, uuid, call))?.state === "paused") await guest.lifecycle.forceOff(uuid, call);
}
