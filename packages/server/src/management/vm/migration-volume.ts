/**
 * The volumes that a migration makes on its target for disks that are copied. They keep the names of the source's, by
 * which nobody knows whose they are. Invariant: only what this migration made is filled, and removed: what it has stored
 * that it made, as soon as each was there; or what an attempt that crashed in that moment left, as it was asked for and
 * without any data. Of a block device that can't be told: it stays, and is named.
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
  readonly source?: VolumeRef & {
    readonly hostId: string;
    /** As of the plan: one that someone wrote to since has content that the copy may lack. */
    readonly writtenAt?: string | undefined;
  };
  /** The migration has stored that it made it. */
  readonly isMade?: boolean;
}

/** What the step that makes them stores. */
export interface MadeCopies {
  readonly made: readonly DiskCopy[];
  /** A volume that the migration did not make, as far as it can tell, has the name of the next one: it failed there. */
  readonly taken?: string;
}

/** Under which a migration keeps what it has made so far. */
const madeKey = "made copies";

type Deps = Pick<OperationDeps, "providers" | "clock">;

/** Empty ones. */
export async function makeCopies(
  deps: Deps,
  hostId: string,
  copies: readonly DiskCopy[],
  { repeated, signal, keep, resultIfAny }: Pick<StepContext<unknown>, "repeated" | "signal" | "keep" | "resultIfAny">,
): Promise<MadeCopies> {
  const { volume } = deps.providers.get(hostId).storage;
  const made = keptCopies(resultIfAny);
  for (const copy of copies.slice(made.length)) {
    try {
      const kept = repeated ? await ownVolume(volume, copy.volume, { isMade: false }, { signal }) : undefined;
      const { capacityBytes } = kept ?? (await volume.createVolume(copy.volume, { signal }));
      // As the storage rounds it.
      made.push({ ...copy, volume: { ...copy.volume, capacityBytes }, isMade: true });
      await keep(madeKey, { made: [...made] });
    } catch (error) {
      if (!(error instanceof AppError && error.code === "name_taken")) throw error;
      return { made, taken: copy.volume.name };
    }
  }
  return { made };
}

/** Of an attempt that crashed: what it made, and what it may have made. */
export function begunCopies(
  copies: readonly DiskCopy[],
  { resultIfAny }: Pick<StepContext<unknown>, "resultIfAny">,
): DiskCopy[] {
  const made = keptCopies(resultIfAny);
  return [...made, ...copies.slice(made.length)];
}

function keptCopies(resultIfAny: StepContext<unknown>["resultIfAny"]): DiskCopy[] {
  return [...(resultIfAny<MadeCopies>(madeKey)?.made ?? [])];
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

export async function removeCopies(deps: Deps, hostId: string, copies: readonly DiskCopy[], call: Call): Promise<void> {
  const { volume: port } = deps.providers.get(hostId).storage;
  for (const { volume, isMade = false } of copies) {
    if ((await ownVolume(port, volume, { isMade }, call)) === undefined) continue;
    await removeVolume(deps, hostId, volume, call);
  }
}
