/**
 * Brings a VM back to a snapshot: new overlays on the frozen layers, the snapshot's configuration, and, if its memory
 * was saved, the guest as it ran. Everything that can fail is done before the guest is stopped, and undone if it fails;
 * then the state that is left behind is given up, and layers that only it read are deleted.
 */
import { Type } from "typebox";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { type FileRef, refuseForeignSnapshots } from "#management/snapshot/freeze.ts";
import {
  checkForeign,
  type ForeignPlan,
  foreignStep,
  isForeign,
  ownSteps,
  planForeign,
} from "#management/snapshot/foreign.ts";
import { chainOf, planCollect } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { deleteFiles, volumesOfPaths, retainedLayers } from "#management/snapshot/merge.ts";
import {
  metadataOf,
  packConfiguration,
  putRetained,
  readConfiguration,
  readRetained,
  setCurrent,
  snapshotsOf,
  unpackConfiguration,
  writeMetadata,
} from "#management/snapshot/snapshot-record.ts";
import { planStep } from "#management/task/claimed-plan.ts";
import { operation, type Step, type StepContext } from "#management/task/operation.ts";
import {
  definitionWitness,
  leftToOthers,
  requireLetGo,
  requireUnchanged,
  writerOf,
} from "#management/vm/definition-guard.ts";
import { removeVolume, type VolumeRef } from "#management/vm/guest-file.ts";
import { refuseSavedMemory } from "#management/vm/guest-read.ts";
import { requireNotTemplate, requireState } from "#management/vm/lookup.ts";
import { isFilePool, requirePoolOfPath } from "#management/vm/storage-reach.ts";
import { choosePool } from "#management/vm/disk-pool.ts";
import { syncGuest } from "#management/vm/sync.ts";
import { overlayVolumeName } from "#management/vm/volume-name.ts";
import type { OperationDeps } from "./deps.ts";
import { find, snapshotTarget } from "./snapshot-delete.ts";

interface RevertedDisk {
  readonly target: string;
  readonly frozen: { readonly path: string; readonly format: string };
  readonly overlay: FileRef;
  readonly capacityBytes: number;
}

interface Plan {
  readonly vmId: Vm["id"];
  readonly vmName: string;
  readonly hostId: string;
  readonly uuid: string;
  readonly snapshotId: Snapshot["id"];
  readonly disks: readonly RevertedDisk[];
  readonly vmState: Snapshot["vmState"];
  readonly memoryPath?: string;
  /** Packed domain XML of before, for undo. */
  readonly before: string;
  /** Layers above those of this VM's snapshots, which are given up. */
  readonly abandoned: readonly string[];
  /** Disks that the VM has now and had not at the snapshot: they are taken off, their volumes stay. */
  readonly detached: readonly string[];
}

type Input = { snapshotId: string };

export function snapshotRevert(deps: OperationDeps) {
  return operation({
    name: "snapshot.revert",
    input: Type.Object({ snapshotId: Type.String() }),
    check({ snapshotId }) {
      const { snapshot, vm } = find(deps, snapshotId);
      requireState(vm, "revert", "reverted");
      requireNotTemplate(vm, "reverted");
      if (snapshot.source === undefined) refuseForeignSnapshots(vm);
      else checkForeign(deps, vm, snapshot, "revert");
      deps.providers.get(vm.hostId);
    },
    claims: ({ snapshotId }) => ({ exclusive: [`vm:${find(deps, snapshotId).vm.id}`] }),
    target: ({ snapshotId }) => snapshotTarget(deps, snapshotId),
    steps: [
      planStep(
        deps.inventory,
        (context: StepContext<Input>) => plan(deps, context),
        (planned) => ({ hostId: planned.hostId, volumes: "disks" in planned ? overlaysOf(planned) : [] }),
      ),
      ...ownSteps<Input>([
        overlaysStep(deps),
        defineStep(deps),
        {
          name: "stop",
          pointOfNoReturn: true,
          do({ result, signal }) {
            const { hostId, uuid } = result<Plan>("plan");
            return deps.providers.get(hostId).guest.lifecycle.forceOff(uuid, { signal });
          },
        },
        {
          name: "clean",
          pointOfNoReturn: true,
          do: ({ result, signal }) => clean(deps, result<Plan>("plan"), { signal }),
        },
        {
          name: "start",
          pointOfNoReturn: true,
          do: ({ result, signal }) => start(deps, result<Plan>("plan"), { signal }),
        },
        { name: "sync", do: (context) => sync(deps, context) },
      ]),
      // Last: a step after a point of no return could not be undone.
      foreignStep(deps),
    ],
    outcome({ result, resultIfAny }) {
      const foreign = result("plan");
      if (isForeign(foreign)) return { snapshotId: foreign.snapshotId, deletedLayers: [], keptVolumes: [] };
      const { snapshotId, vmState, detached } = result<Plan>("plan");
      const deletedLayers = resultIfAny<{ deleted: string[] }>("clean")?.deleted ?? [];
      return { snapshotId, vmState, deletedLayers, keptVolumes: detached };
    },
  });
}

function overlaysStep(deps: OperationDeps): Step<Input> {
  return {
    name: "overlays",
    do: ({ result, repeated, signal }) => makeOverlays(deps, result<Plan>("plan"), repeated, { signal }),
    async undo(context) {
      const plan = context.resultIfAny<Plan>("plan");
      if (plan === undefined) return;
      for (const { overlay } of plan.disks) await removeVolume(deps, plan.hostId, overlay, { signal: context.signal });
      await syncGuest(deps, context, plan, overlaysOf(plan));
    },
  };
}

function defineStep(deps: OperationDeps): Step<Input> {
  return {
    name: "define",
    do: (context) => defineReverted(deps, context),
    async undo(context) {
      const plan = context.resultIfAny<Plan>("plan");
      return plan === undefined ? undefined : await defineBefore(deps, context, plan);
    },
  };
}

async function sync(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const plan = context.result<Plan>("plan");
  const changed = [...overlaysOf(plan), ...volumesOfPaths(deps, plan.hostId, plan.abandoned)];
  await syncGuest(deps, context, plan, changed);
}

async function plan(deps: OperationDeps, { input, taskId, signal }: StepContext<Input>): Promise<Plan | ForeignPlan> {
  const { snapshot, vm } = find(deps, input.snapshotId);
  if (snapshot.source === undefined) return planRevert(deps, snapshot.id, taskId, { signal });
  return planForeign(deps, vm, snapshot, { act: "revert", children: false }, { signal });
}

async function planRevert(deps: OperationDeps, snapshotId: string, taskId: string, call: Call): Promise<Plan> {
  const { snapshot, vm } = find(deps, snapshotId);
  const { guest, storage } = deps.providers.get(vm.hostId);
  const now = await guest.inventory.read(vm.uuid, call);
  refuseForeignSnapshots(now);
  refuseSavedMemory(now, "be reverted");
  const disks: RevertedDisk[] = [];
  for (const { target, path, format } of snapshot.disks) {
    const stored = await storage.volume.findVolumeByPath(path, call);
    if (stored === undefined) {
      throw new AppError("not_found", `The layer ${path} of snapshot ${snapshot.name} is gone from its storage.`, {
        remedy: "Restore it, or delete the snapshot.",
      });
    }
    const overlay = overlayFor(deps, vm, snapshot, { target, path }, taskId);
    disks.push({ target, frozen: { path, format }, overlay, capacityBytes: stored.capacityBytes });
  }
  if (snapshot.memoryPath !== undefined) await requireMemory(deps, vm, snapshot, snapshot.memoryPath, call);
  const world = await readWorld(deps, vm.hostId, [{ ...vm, spec: now.spec }], call);
  const grown = new Set([
    ...snapshotsOf(deps.inventory, vm.id).flatMap((each) => each.disks.map((disk) => disk.path)),
    ...(await readRetained(deps.store, vm.id)).map((layer) => layer.path),
  ]);
  const present = now.spec.disks.filter((disk) => disk.device === "disk" && disk.source !== undefined);
  const sources = present.flatMap((disk) => disk.source ?? []);
  const abandoned = sources.flatMap((source) => {
    const chain = chainOf(world, source);
    // Also layers between that someone else put on ours.
    const base = chain.findIndex((path, index) => index > 0 && grown.has(path));
    return base === -1 ? [] : chain.slice(0, base);
  });
  return {
    vmId: vm.id,
    vmName: vm.name,
    hostId: vm.hostId,
    uuid: vm.uuid,
    snapshotId: snapshot.id,
    disks,
    vmState: snapshot.vmState,
    ...(snapshot.memoryPath === undefined ? {} : { memoryPath: snapshot.memoryPath }),
    before: packConfiguration(await guest.inventory.xml(vm.uuid, { inactive: true }, call)),
    abandoned,
    detached: sources.filter((source) => !abandoned.includes(source)),
  };
}

function overlayFor(
  deps: OperationDeps,
  vm: Vm,
  snapshot: Snapshot,
  disk: { target: string; path: string },
  taskId: string,
): FileRef {
  const what = `Disk ${disk.target} of snapshot ${snapshot.name}`;
  const own = requirePoolOfPath(deps.inventory, vm.hostId, disk.path, what);
  const { inventory } = deps;
  const host = inventory.require("host", vm.hostId);
  const pool = isFilePool(own) ? own : choosePool({ inventory, host }, {}, "host", isFilePool);
  const name = overlayVolumeName(vm, disk.target, taskId);
  return { poolName: pool.name, name, path: `${pool.path ?? ""}/${name}` };
}

async function requireMemory(
  deps: OperationDeps,
  vm: Vm,
  snapshot: Snapshot,
  memoryPath: string,
  call: Call,
): Promise<void> {
  const { volume } = deps.providers.get(vm.hostId).storage;
  if ((await volume.findVolumeByPath(memoryPath, call)) !== undefined) return;
  throw new AppError("not_found", `The saved memory ${memoryPath} of snapshot ${snapshot.name} is gone.`);
}

async function makeOverlays(deps: OperationDeps, plan: Plan, repeated: boolean, call: Call): Promise<void> {
  const { volume } = deps.providers.get(plan.hostId).storage;
  for (const { overlay, frozen, capacityBytes } of plan.disks) {
    if (repeated) await removeVolume(deps, plan.hostId, overlay, call);
    const { poolName, name } = overlay;
    await volume.createVolume({ poolName, name, format: "qcow2", capacityBytes, backing: frozen }, call);
  }
}

async function defineReverted(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const plan = context.result<Plan>("plan");
  const call = { signal: context.signal };
  await requireUnchanged(deps, context, plan, call);
  const snapshot = deps.inventory.require("snapshot", plan.snapshotId);
  const xml = await readConfiguration(deps.store, snapshot);
  const metadata = await metadataOf(deps, plan.vmId, {
    currentSnapshotId: plan.snapshotId,
    taskId: context.taskId,
  });
  const edits = { name: plan.vmName, uuid: plan.uuid, disks: overlayMap(plan), metadata };
  const { guest } = deps.providers.get(plan.hostId);
  await guest.lifecycle.defineXml(xml, edits, call, definitionWitness(context));
}

/**
 * A guest that someone took away meanwhile is not brought back, and what someone else wrote stays: conflict if that is on
 * the overlays, which are needed then. Answers what it left to others.
 */
async function defineBefore(deps: OperationDeps, context: StepContext<Input>, plan: Plan): Promise<string | undefined> {
  const call = { signal: context.signal };
  const { guest } = deps.providers.get(plan.hostId);
  const writer = await writerOf(deps, context, plan, call);
  if (writer === "gone") return undefined;
  if (writer === "others") {
    const xml = await guest.inventory.xml(plan.uuid, { inactive: true }, call);
    requireLetGo(
      xml,
      plan.disks.map(({ overlay }) => overlay.path),
    );
    return leftToOthers;
  }
  const metadata = await metadataOf(deps, plan.vmId);
  const xml = unpackConfiguration(plan.before);
  await guest.lifecycle.defineXml(xml, { metadata }, call);
  return undefined;
}

function overlayMap(plan: Plan): Map<string, { path: string; format: string }> {
  return new Map(plan.disks.map(({ target, overlay }) => [target, { path: overlay.path, format: "qcow2" }]));
}

/** Makes the snapshot the current one and deletes what only the abandoned state read. */
async function clean(deps: OperationDeps, plan: Plan, call: Call): Promise<{ deleted: string[] }> {
  const vm = deps.inventory.require("vm", plan.vmId);
  const now = await deps.providers.get(plan.hostId).guest.inventory.read(plan.uuid, call);
  const world = await readWorld(deps, plan.hostId, [{ ...vm, spec: now.spec }], call);
  const retained = await readRetained(deps.store, plan.vmId);
  const candidates = [...plan.abandoned, ...retained.map((layer) => layer.path)];
  const layers = planCollect(world, plan.vmId, candidates, { merge: false });
  const formats = Object.fromEntries(retained.map(({ path, format }) => [path, format]));
  await deps.store.transaction(async (transaction) => {
    await setCurrent(transaction, plan.vmId, plan.snapshotId);
    // Until they are deleted they are retained: nothing is forgotten if that fails.
    const doomed = layers.deletes.map((path) => ({ path }));
    await putRetained(transaction, plan.vmId, retainedLayers([...layers.retained, ...doomed], formats));
  });
  await deleteFiles(deps, plan.hostId, layers.deletes, call);
  await deps.store.transaction((transaction) =>
    putRetained(transaction, plan.vmId, retainedLayers(layers.retained, formats)),
  );
  await writeMetadata(deps, plan.vmId, call);
  return { deleted: [...layers.deletes] };
}

async function start(deps: OperationDeps, plan: Plan, call: Call): Promise<void> {
  const { guest } = deps.providers.get(plan.hostId);
  if (plan.vmState === "shutoff" || isActive(await guest.inventory.read(plan.uuid, call))) return;
  const paused = plan.vmState === "paused";
  if (plan.memoryPath === undefined) await guest.lifecycle.start(plan.uuid, { paused }, call);
  else await guest.snapshot.restoreMemory(plan.memoryPath, { disks: overlayMap(plan), paused }, call);
}

function overlaysOf(plan: Plan): VolumeRef[] {
  return plan.disks.map(({ overlay }) => overlay);
}
