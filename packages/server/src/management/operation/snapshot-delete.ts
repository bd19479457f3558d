/**
 * Deletes a snapshot, or a whole branch: the VM's present state and all other snapshots read the same as before. First
 * the snapshots are forgotten (their layers are then known as retained), then layers are merged and files deleted: a
 * failure on the way leaves layers that a later deletion takes up, and never a snapshot whose content is half merged.
 */
import { Type } from "typebox";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { refuseForeignSnapshots, startPaused, stopPaused, whileActive } from "#management/snapshot/freeze.ts";
import { checkForeign, foreignStep, isForeign, ownSteps, planForeign } from "#management/snapshot/foreign.ts";
import { type Merge, planCollect, without } from "#management/snapshot/layer.ts";
import { readWorld } from "#management/snapshot/layer-world.ts";
import { deleteFiles, mergeLayers, volumesOfPaths, retainedLayers } from "#management/snapshot/merge.ts";
import {
  forgetSnapshot,
  putRetained,
  readRetained,
  type RetainedLayer,
  snapshotsOf,
  writeMetadata,
} from "#management/snapshot/snapshot-record.ts";
import { treeWithout, withDescendants } from "#management/snapshot/tree.ts";
import { operation, type Step, type StepContext } from "#management/task/operation.ts";
import { refuseSavedMemory } from "#management/vm/guest-read.ts";
import { requireState } from "#management/vm/lookup.ts";
import { syncGuest } from "#management/vm/sync.ts";
import type { OperationDeps } from "./deps.ts";

interface Plan {
  readonly vmId: Vm["id"];
  readonly hostId: string;
  readonly uuid: string;
  readonly snapshotIds: readonly string[];
  readonly names: readonly string[];
  readonly merges: readonly Merge[];
  readonly deletes: readonly string[];
  /** All layers that lose their snapshot, until they are merged or deleted. */
  readonly orphans: readonly RetainedLayer[];
  /** Those that stay because others read them. */
  readonly retained: readonly { readonly path: string; readonly reason: string }[];
  readonly formats: Readonly<Record<string, string>>;
}

type Input = { snapshotId: string; children?: boolean };

export function snapshotDelete(deps: OperationDeps) {
  return operation({
    name: "snapshot.delete",
    input: Type.Object({ snapshotId: Type.String(), children: Type.Optional(Type.Boolean()) }),
    check({ snapshotId }) {
      const { snapshot, vm } = find(deps, snapshotId);
      requireState(vm, "change", "changed");
      if (snapshot.source === undefined) refuseForeignSnapshots(vm);
      else checkForeign(deps, vm, snapshot, "delete");
      deps.providers.get(vm.hostId);
    },
    claims: ({ snapshotId }) => ({ exclusive: [`vm:${find(deps, snapshotId).vm.id}`] }),
    target: ({ snapshotId }) => snapshotTarget(deps, snapshotId),
    steps: [
      {
        name: "plan",
        async do({ input, signal }) {
          const { snapshot, vm } = find(deps, input.snapshotId);
          const children = input.children === true;
          if (snapshot.source !== undefined) {
            return { ...(await planForeign(deps, vm, snapshot, { act: "delete", children }, { signal })) };
          }
          return { ...(await planDeletion(deps, vm, snapshot, children, signal)) };
        },
      },
      ...ownSteps<Input>([
        prepareStep(deps),
        { name: "forget", pointOfNoReturn: true, do: ({ result }) => forget(deps, result<Plan>("plan")) },
        {
          name: "merge",
          pointOfNoReturn: true,
          do: (context) => merge(deps, context),
        },
        {
          name: "clean",
          pointOfNoReturn: true,
          do: ({ result, signal }) => clean(deps, result<Plan>("plan"), { signal }),
        },
        { name: "sync", do: (context) => sync(deps, context) },
      ]),
      // Last: a step after a point of no return could not be undone.
      foreignStep(deps),
    ],
    outcome({ result }) {
      const foreign = result("plan");
      if (isForeign(foreign)) return { deletedSnapshots: [foreign.name], mergedLayers: 0, retainedLayers: [] };
      const { names, merges, retained } = result<Plan>("plan");
      return { deletedSnapshots: names, mergedLayers: merges.length, retainedLayers: retained };
    },
  });
}

function prepareStep(deps: OperationDeps): Step<Input> {
  return {
    name: "prepare",
    async do(context) {
      const plan = context.result<Plan>("plan");
      if (plan.merges.length > 0) await startPaused(deps, context, plan);
    },
    async undo(context) {
      const plan = context.resultIfAny<Plan>("plan");
      if (plan !== undefined) await stopPaused(deps, context, plan);
    },
  };
}

/** By id; names are unique within one VM only. */
export function find(deps: Pick<OperationDeps, "inventory">, snapshotId: string): { snapshot: Snapshot; vm: Vm } {
  const snapshot = deps.inventory.require("snapshot", snapshotId, { field: "snapshotId" });
  const vm = deps.inventory.get("vm", snapshot.vmId);
  if (vm === undefined) throw new AppError("not_found", `The VM of snapshot ${snapshot.name} is gone.`);
  return { snapshot, vm };
}

export function snapshotTarget(deps: Pick<OperationDeps, "inventory">, snapshotId: string) {
  const { snapshot } = find(deps, snapshotId);
  return { kind: "snapshot", id: snapshot.id, name: snapshot.name, vmId: snapshot.vmId };
}

async function planDeletion(
  deps: OperationDeps,
  vm: Vm,
  snapshot: Snapshot,
  children: boolean,
  signal: AbortSignal,
): Promise<Plan> {
  const { guest } = deps.providers.get(vm.hostId);
  const now = await guest.inventory.read(vm.uuid, { signal });
  refuseForeignSnapshots(now);
  refuseSavedMemory(now, "lose a snapshot");
  const all = snapshotsOf(deps.inventory, vm.id);
  const dropped = children ? withDescendants(all, snapshot) : [snapshot];
  const droppedIds = new Set<string>(dropped.map((each) => each.id));
  const retained = await readRetained(deps.store, vm.id);
  const orphans = [...retained, ...dropped.flatMap((each) => each.disks.map(({ path, format }) => ({ path, format })))];
  const world = await readWorld(deps, vm.hostId, [{ ...vm, spec: now.spec }], { signal });
  const layers = planCollect(
    without(world, (hold) => droppedIds.has(hold.id)),
    vm.id,
    orphans.map((layer) => layer.path),
    { merge: true },
  );
  return {
    vmId: vm.id,
    hostId: vm.hostId,
    uuid: vm.uuid,
    snapshotIds: [...droppedIds],
    names: dropped.map((each) => each.name),
    merges: layers.merges,
    deletes: [...layers.deletes, ...dropped.flatMap((each) => each.memoryPath ?? [])],
    orphans,
    retained: layers.retained,
    formats: Object.fromEntries(
      [...all.flatMap((each) => each.disks), ...retained].map(({ path, format }) => [path, format]),
    ),
  };
}

async function forget(deps: OperationDeps, plan: Plan): Promise<void> {
  const dropped = new Set(plan.snapshotIds);
  await deps.store.transaction(async (transaction) => {
    const all = (await transaction.list("snapshot")).filter((each) => each.vmId === plan.vmId);
    for (const { revision: _, ...snapshot } of treeWithout(all, dropped)) await transaction.put("snapshot", snapshot);
    for (const id of dropped) await forgetSnapshot(transaction, id);
    await putRetained(transaction, plan.vmId, plan.orphans);
  });
}

async function merge(deps: OperationDeps, context: StepContext<Input>): Promise<void> {
  const plan = context.result<Plan>("plan");
  if (plan.merges.length === 0) return;
  const onProgress = (done: number, total: number): void =>
    context.progress({ done, total, unit: "byte" }, "merging layers");
  await whileActive(deps, context, plan, () => mergeLayers(deps, plan, { signal: context.signal, onProgress }));
}

async function clean(deps: OperationDeps, plan: Plan, call: Call): Promise<void> {
  await deleteFiles(deps, plan.hostId, plan.deletes, call);
  await deps.store.transaction((transaction) =>
    putRetained(transaction, plan.vmId, retainedLayers(plan.retained, plan.formats)),
  );
  await writeMetadata(deps, plan.vmId, call);
}

async function sync<I>(deps: OperationDeps, context: StepContext<I>): Promise<void> {
  const plan = context.result<Plan>("plan");
  // What lay on a layer that is gone lies on another now.
  const pools = volumesOfPaths(deps, plan.hostId, plan.deletes).map(({ poolName }) => poolName);
  await syncGuest(deps, context, plan, pools);
}
