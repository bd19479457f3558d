/**
 * Removing files that an operation made. Invariant: gone is fine, so that undo can run any number of times; a file that
 * the host still writes (an allocation whose client crashed goes on in the daemon) is waited for, with a bound.
 */
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";

export interface VolumeRef {
  readonly poolName: string;
  readonly name: string;
}

const retryMs = 500;
/** A full copy of a large disk may still run: libvirt refuses to delete a volume "still being allocated" until it ends. */
const waitMs = 30 * 60_000;

/** Not looked for first: one that the host only begins to allocate has no file yet. */
export async function removeVolume(
  deps: Pick<OperationDeps, "providers" | "clock">,
  hostId: string,
  ref: VolumeRef,
  call: Call,
): Promise<void> {
  const { volume } = deps.providers.get(hostId).storage;
  const deadlineMs = deps.clock.monotonicMs() + waitMs;
  for (;;) {
    try {
      await volume.deleteVolume(ref.poolName, ref.name, call);
      return;
    } catch (error) {
      if (!isBusy(error) || deps.clock.monotonicMs() > deadlineMs) throw error;
      await deps.clock.sleep(retryMs, call.signal);
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof AppError && error.code === "conflict";
}
