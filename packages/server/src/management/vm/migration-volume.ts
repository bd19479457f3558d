/**
 * The volumes that a migration makes on its target for disks that are copied. They keep the names of the source's, by
 * which nobody knows whose they are. Invariant: only what this migration made is filled, and removed: what it has stored
 * that it made, or what an attempt that crashed left, as it was asked for and without any data.
 */
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import type { StepContext } from "#management/task/operation.ts";
import { ownVolume } from "#management/volume/volume-owner.ts";
import type { VolumeDefinition } from "#storage/port.ts";
import { fillVolume } from "./disk-make.ts";
import { removeVolume, type VolumeRef } from "./guest-file.ts";

export interface DiskCopy {
  /** The disk's device: vda. */
  readonly target: string;
  readonly volume: VolumeDefinition;
  /** What its content comes from, through the control plane; absent: the hypervisor sends it. */
  readonly source?: VolumeRef & { readonly hostId: string };
}

/** What the step that makes them stores. */
export interface MadeCopies {
  readonly made: readonly DiskCopy[];
  /** Someone else's volume has the name of the next one: it failed there. */
  readonly taken?: string;
}

type Deps = Pick<OperationDeps, "providers" | "clock">;

/** Empty ones. */
export async function makeCopies(
  deps: Deps,
  hostId: string,
  copies: readonly DiskCopy[],
  { repeated, signal }: Pick<StepContext<unknown>, "repeated" | "signal">,
): Promise<MadeCopies> {
  const { volume } = deps.providers.get(hostId).storage;
  const made: DiskCopy[] = [];
  for (const copy of copies) {
    try {
      const kept = repeated ? await ownVolume(volume, copy.volume, { isMade: false }, { signal }) : undefined;
      const { capacityBytes } = kept ?? (await volume.createVolume(copy.volume, { signal }));
      // As the storage rounds it.
      made.push({ ...copy, volume: { ...copy.volume, capacityBytes } });
    } catch (error) {
      if (!(error instanceof AppError && error.code === "name_taken")) throw error;
      return { made, taken: copy.volume.name };
    }
  }
  return { made };
}

export async function fillCopies(
  deps: Deps,
  context: StepContext<unknown>,
  hostId: string,
  copies: readonly DiskCopy[],
) {
  for (const { target, volume, source } of copies) {
    if (source === undefined) continue;
    const message = `copying disk ${target} from another host`;
    const onProgress = (done: number, total: number): void => context.progress({ done, total, unit: "byte" }, message);
    await fillVolume(deps, hostId, volume, source, { signal: context.signal, onProgress });
  }
}

/** `isMade`: the migration has stored that it made them. */
export async function removeCopies(
  deps: Deps,
  hostId: string,
  copies: readonly DiskCopy[],
  isMade: boolean,
  call: Call,
): Promise<void> {
  const { volume: port } = deps.providers.get(hostId).storage;
  for (const { volume } of copies) {
    if ((await ownVolume(port, volume, { isMade }, call)) === undefined) continue;
    await removeVolume(deps, hostId, volume, call);
  }
}
