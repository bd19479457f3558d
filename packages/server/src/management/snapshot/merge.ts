/**
 * Carrying out a layer plan on a host: merges through the hypervisor, then the files. Invariant: what a snapshot's
 * document says follows each merge at once, and a file goes only when nothing refers to it any more.
 */
import { posix } from "node:path";
import type { Call, LongCall } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { removeVolume, type VolumeRef } from "#management/vm/guest-file.ts";
import { pathOn, poolOfPath, volumeNameIn } from "#management/vm/storage-reach.ts";
import { type Merge, planCollect } from "./layer.ts";
import { readWorld } from "./layer-world.ts";
import { dropRetained, listRetained, type RetainedLayer } from "./snapshot-record.ts";

interface MergeTask {
  readonly vmId: string;
  readonly hostId: string;
  readonly uuid: string;
  readonly merges: readonly Merge[];
  /** Formats of the layers by path. */
  readonly formats: Readonly<Record<string, string>>;
}

export async function mergeLayers(deps: OperationDeps, task: MergeTask, call: LongCall): Promise<void> {
  const { guest } = deps.providers.get(task.hostId);
  for (const { target, top, base } of task.merges) {
    await guest.snapshot.mergeDown(task.uuid, { target, topPath: top, basePath: base }, call);
    await moveSnapshots(deps, task, top, base);
  }
}

/** Whoever held the merged layer holds the one that took its content; a retained layer that was merged is no more. */
async function moveSnapshots(deps: OperationDeps, task: MergeTask, top: string, base: string): Promise<void> {
  await deps.store.transaction(async (transaction) => {
    for (const { revision: _, ...snapshot } of await transaction.list("snapshot")) {
      if (snapshot.vmId !== task.vmId || !snapshot.disks.some((disk) => disk.path === top)) continue;
      const disks = snapshot.disks.map((disk) =>
        disk.path === top ? { ...disk, path: base, format: task.formats[base] ?? disk.format } : disk,
      );
      await transaction.put("snapshot", { ...snapshot, disks });
    }
    await dropRetained(transaction, task.vmId, [top]);
  });
}

/**
 * Deletes files by their paths, and layers below them that a VM had retained for their sake alone. Returns those that are
 * in no pool and therefore stay.
 */
export async function deleteFiles(
  deps: OperationDeps,
  hostId: string,
  paths: readonly string[],
  call: LongCall,
): Promise<string[]> {
  const kept: string[] = [];
  for (const path of paths) {
    const pool = poolOfPath(deps.inventory, hostId, path);
    if (pool === undefined) kept.push(path);
    else await removeVolume(deps, hostId, { poolName: pool.name, name: volumeNameIn(pool, path) }, call);
  }
  if (paths.length > 0) await releaseRetained(deps, hostId, call);
  return kept;
}

/**
 * Deletes retained layers that nobody reads any more: a linked clone that did is gone. Such a layer has neither holder nor
 * layer above, so no operation that runs on its VM at the same time can need it.
 */
async function releaseRetained(deps: OperationDeps, hostId: string, call: Call): Promise<void> {
  const { inventory, store } = deps;
  const entries = await store.transaction((transaction) => listRetained(transaction));
  const known = entries.flatMap(({ vmId, layers }) => {
    const owner = inventory.get("vm", vmId);
    const here = layers.filter(({ path }) => owner && pathOn(inventory, owner.hostId, hostId, path) === path);
    return here.length === 0 ? [] : [{ vmId, paths: here.map((layer) => layer.path) }];
  });
  if (known.length === 0) return;
  const world = await readWorld(deps, hostId, [], call);
  for (const { vmId, paths } of known) {
    const { deletes } = planCollect(world, vmId, paths, { merge: false });
    for (const path of deletes) {
      const pool = poolOfPath(inventory, hostId, path);
      if (pool !== undefined) {
        await removeVolume(deps, hostId, { poolName: pool.name, name: volumeNameIn(pool, path) }, call);
      }
    }
    if (deletes.length > 0) await store.transaction((transaction) => dropRetained(transaction, vmId, deletes));
  }
}

/** Those in the host's pools. */
export function volumesOfPaths(
  deps: Pick<OperationDeps, "inventory">,
  hostId: string,
  paths: readonly string[],
): VolumeRef[] {
  return paths.flatMap((path) => {
    const pool = poolOfPath(deps.inventory, hostId, path);
    return pool === undefined ? [] : [{ poolName: pool.name, name: volumeNameIn(pool, path) }];
  });
}

export function retainedLayers(
  paths: readonly { readonly path: string }[],
  formats: Readonly<Record<string, string>>,
): RetainedLayer[] {
  return paths.map(({ path }) => ({
    path,
    format: formats[path] ?? (posix.extname(path) === ".qcow2" ? "qcow2" : "raw"),
  }));
}
