/**
 * Carrying out a layer plan on a host: merges through the hypervisor, then the files. Invariant: what a snapshot's
 * document says follows each merge at once, and a file goes only when nothing refers to it any more.
 */
import { posix } from "node:path";
import type { LongCall } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { removeVolume } from "#management/vm/guest-file.ts";
import { poolOfPath, volumeNameIn } from "#management/vm/storage-reach.ts";
import type { Merge } from "./layer.ts";
import { putRetained, readRetained, type RetainedLayer } from "./snapshot-record.ts";

export interface MergeTask {
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
  const retained = await readRetained(deps.store, task.vmId);
  await deps.store.transaction(async (transaction) => {
    for (const { revision: _, ...snapshot } of await transaction.list("snapshot")) {
      if (snapshot.vmId !== task.vmId || !snapshot.disks.some((disk) => disk.path === top)) continue;
      const disks = snapshot.disks.map((disk) =>
        disk.path === top ? { ...disk, path: base, format: task.formats[base] ?? disk.format } : disk,
      );
      await transaction.put("snapshot", { ...snapshot, disks });
    }
    await putRetained(
      transaction,
      task.vmId,
      retained.filter((layer) => layer.path !== top),
    );
  });
}

/** Deletes files by their paths. Returns those that are in no pool and therefore stay. */
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
  return kept;
}

export function poolNamesOfPaths(deps: Pick<OperationDeps, "inventory">, hostId: string, paths: Iterable<string>) {
  return [...paths].flatMap((path) => poolOfPath(deps.inventory, hostId, path)?.name ?? []);
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
