/**
 * Making the volumes of disk plans, and removing them again. Making is idempotent: what an interrupted attempt left
 * under the plan's own (never reused) name is removed and made anew.
 */
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import type { LongCall } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import {
  isNamedQcow2,
  requireDiskAsNamed,
  requireOwnContent,
  requireRawContent,
} from "#management/volume/volume-content.ts";
import { ownVolume } from "#management/volume/volume-owner.ts";
import type { CopySource, DiskOrigin, DiskPlan } from "./disk-plan.ts";
import { removeVolume, type VolumeRef } from "./guest-file.ts";

type MakeDeps = Pick<OperationDeps, "providers" | "clock">;
type MadeOrigin = Exclude<DiskOrigin, { kind: "empty" | "existing" }>;

/** The volume that the plan makes; undefined if it makes none. */
export function madeVolume(plan: DiskPlan): VolumeRef | undefined {
  const { origin } = plan;
  return "volumeName" in origin ? { poolName: origin.poolName, name: origin.volumeName } : undefined;
}

/**
 * Makes what has to be made and returns the disk as a guest is defined with it. `repeated`: an attempt before this one may
 * have left a part of it.
 */
export async function makeDisk(
  deps: MakeDeps,
  hostId: string,
  { origin, disk }: DiskPlan,
  repeated: boolean,
  call: LongCall,
): Promise<VmDisk> {
  if (origin.kind === "empty") return { ...disk, sourceType: "file" };
  if (origin.kind === "existing") {
    await requireSafe(deps, hostId, origin, call);
    return { ...disk, source: origin.path, sourceType: origin.sourceType, format: origin.format };
  }
  const kept = repeated && origin.named === true ? await ownDisk(deps, hostId, origin, false, call) : undefined;
  if (kept !== undefined) return { ...disk, source: kept.path, sourceType: origin.sourceType, format: origin.format };
  if (repeated && origin.named !== true) {
    await removeVolume(deps, hostId, { poolName: origin.poolName, name: origin.volumeName }, call);
  }
  const source = await makeVolume(deps, hostId, origin, call);
  return { ...disk, source, sourceType: origin.sourceType, format: origin.format };
}

/** The first `madeCount` are known to be ours; of the others a volume whose name was asked for may be someone else's. */
export async function removeDisks(
  deps: MakeDeps,
  hostId: string,
  plans: readonly DiskPlan[],
  madeCount: number,
  call: LongCall,
): Promise<void> {
  for (const [index, plan] of plans.entries()) {
    const made = madeVolume(plan);
    if (made === undefined) continue;
    const { origin } = plan;
    if (!("named" in origin) || (await ownDisk(deps, hostId, origin, index < madeCount, call)) !== undefined)
      await removeVolume(deps, hostId, made, call);
  }
}

/** Refuses names that are taken on the host, where virsh may have made a volume since the inventory was read. */
export async function requireFreeNames(
  deps: MakeDeps,
  hostId: string,
  plans: readonly DiskPlan[],
  call: LongCall,
): Promise<void> {
  for (const { origin } of plans) {
    if (!("named" in origin)) continue;
    const { poolName, volumeName } = origin;
    const taken = await deps.providers.get(hostId).storage.volume.findVolume(poolName, volumeName, call);
    if (taken !== undefined) throw nameTaken(poolName, volumeName);
  }
}

/** What an attempt of ours made under the name that was asked for, and that was free when the plan was stored. */
async function ownDisk(
  deps: MakeDeps,
  hostId: string,
  { poolName, volumeName: name, ...origin }: MadeOrigin,
  isMade: boolean,
  call: LongCall,
): Promise<{ readonly path: string } | undefined> {
  const preallocate = origin.kind === "new" && origin.preallocate === true;
  const wanted = { poolName, name, format: origin.format, capacityBytes: origin.capacityBytes, preallocate };
  return await ownVolume(deps.providers.get(hostId).storage.volume, wanted, { isMade, asked: true }, call);
}

function nameTaken(poolName: string, volumeName: string): AppError {
  return new AppError("name_taken", `Pool ${poolName} has a volume ${volumeName} that this VM did not make.`, {
    field: "disks.volumeName",
  });
}

/** As raw it is taken as it is, if it can be a disk; as anything else QEMU follows what its header names. */
async function requireSafe(
  deps: MakeDeps,
  hostId: string,
  { path, format }: Extract<DiskOrigin, { kind: "existing" }>,
  call: LongCall,
): Promise<void> {
  if (format === "raw" && !isNamedQcow2(path)) return;
  const { volume } = deps.providers.get(hostId).storage;
  const found = await volume.findVolumeByPath(path, call);
  if (found === undefined) throw new AppError("not_found", `There is no volume ${path}.`, { field: "disks" });
  await (format === "raw" ? requireDiskAsNamed : requireOwnContent)(volume, found, call, "disks");
}

/** libvirt copies by the format that it finds, not by the one that is used. */
async function requireSafeSource(deps: MakeDeps, hostId: string, source: CopySource, call: LongCall): Promise<void> {
  const { volume } = deps.providers.get(hostId).storage;
  const found = await volume.findVolume(source.poolName, source.name, call);
  // What is gone is said by who copies it.
  if (found === undefined) return;
  const check = source.format === "qcow2" ? requireOwnContent : requireRawContent;
  await check(volume, found, call, "disks");
}

/** Returns the volume's path. */
async function makeVolume(deps: MakeDeps, hostId: string, origin: MadeOrigin, call: LongCall): Promise<string> {
  const { volume } = deps.providers.get(hostId).storage;
  const { poolName, volumeName: name, format, capacityBytes } = origin;
  const definition = { poolName, name, format, capacityBytes };
  switch (origin.kind) {
    case "new":
      return (await volume.createVolume({ ...definition, preallocate: origin.preallocate === true }, call)).path;
    case "overlay":
      return (await volume.createVolume({ ...definition, backing: origin.backing }, call)).path;
    case "copy": {
      await requireSafeSource(deps, hostId, origin.source, call);
      const copy = await volume.cloneVolume(origin.source, definition, call);
      if (copy.capacityBytes < capacityBytes) await volume.resizeVolume(poolName, name, capacityBytes, call);
      return copy.path;
    }
    case "transfer":
      return transfer(deps, hostId, origin, call);
  }
}

async function transfer(
  deps: MakeDeps,
  hostId: string,
  origin: Extract<DiskOrigin, { kind: "transfer" }>,
  call: LongCall,
): Promise<string> {
  const { source, poolName, volumeName: name, format, capacityBytes } = origin;
  const { volume } = deps.providers.get(hostId).storage;
  const made = await volume.createVolume({ poolName, name, format, capacityBytes }, call);
  await fillVolume(deps, hostId, { poolName, name, capacityBytes }, source, call);
  return made.path;
}

/** Puts another host's volume into one that was made for it, from its start. */
export async function fillVolume(
  deps: MakeDeps,
  hostId: string,
  { poolName, name, capacityBytes }: VolumeRef & { readonly capacityBytes: number },
  source: VolumeRef & { readonly hostId: string },
  call: LongCall,
): Promise<void> {
  const { volume } = deps.providers.get(hostId).storage;
  const from = deps.providers.get(source.hostId).storage.volume;
  const { content, sizeBytes } = await from.download(source.poolName, source.name, call);
  await volume.upload(poolName, name, content, sizeBytes, call);
  const stored = await volume.findVolume(poolName, name, call);
  if (stored !== undefined && stored.capacityBytes < capacityBytes) {
    await volume.resizeVolume(poolName, name, capacityBytes, call);
  }
}
