/**
 * Bringing what an operation did onto the read path. Failing here never fails the operation: what it did is done, and
 * host events and the periodic pass bring it later.
 */
import type { OperationDeps } from "#management/operation/deps.ts";
import type { StepContext } from "#management/task/operation.ts";

type SyncDeps = Pick<OperationDeps, "hostSync">;

/** `poolNames`: pools whose volumes changed. */
export async function syncGuest<I>(
  deps: SyncDeps,
  context: StepContext<I>,
  guest: { readonly hostId: string; readonly uuid: string },
  poolNames: Iterable<string> = [],
): Promise<void> {
  const call = { signal: context.signal };
  await Promise.all([
    syncPools(deps, context, guest.hostId, poolNames),
    quietly(context, "VM", () => deps.hostSync.syncVm(guest.hostId, guest.uuid, call)),
  ]);
}

export async function syncPools<I>(
  deps: SyncDeps,
  context: StepContext<I>,
  hostId: string,
  poolNames: Iterable<string>,
): Promise<void> {
  for (const poolName of new Set(poolNames)) {
    await quietly(context, `pool ${poolName}`, () =>
      deps.hostSync.syncPool(hostId, poolName, { signal: context.signal }),
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
