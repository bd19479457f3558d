/**
 * Bringing what an operation did onto the read path. Failing here never fails the operation: what it did is done, and
 * host events and the periodic pass bring it later.
 */
import type { VolumeRef } from "./guest-file.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { StepContext } from "#management/task/operation.ts";

type SyncDeps = Pick<OperationDeps, "hostSync">;

/** What changed in the storage: a volume, or, by its name, any volume of a pool. */
export type ChangedStorage = VolumeRef | string;

export async function syncGuest<I>(
  deps: SyncDeps,
  context: StepContext<I>,
  guest: { readonly hostId: string; readonly uuid: string },
  changed: Iterable<ChangedStorage> = [],
): Promise<void> {
  const call = { signal: context.signal };
  await Promise.all([
    syncPools(deps, context, guest.hostId, changed),
    quietly(context, "VM", () => deps.hostSync.syncVm(guest.hostId, guest.uuid, call)),
  ]);
}

export async function syncPools<I>(
  deps: SyncDeps,
  context: StepContext<I>,
  hostId: string,
  changed: Iterable<ChangedStorage>,
): Promise<void> {
  const byPool = Map.groupBy(changed, (each) => (typeof each === "string" ? each : each.poolName));
  for (const [poolName, parts] of byPool) {
    const names = parts.flatMap((each) => (typeof each === "string" ? [] : [each.name]));
    const volumes = names.length === parts.length ? new Set(names) : undefined;
    await quietly(context, `pool ${poolName}`, () =>
      deps.hostSync.syncPool(hostId, poolName, { signal: context.signal }, volumes),
    );
  }
}

async function quietly<I>(context: StepContext<I>, what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    context.log.warn({ err: error, task: context.taskId }, `${what} will be read again later`);
  }
}
