/** What a migration decides once, before anything moves: complete and JSON-safe, so that it survives a crash. */
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import type { Vm, VmMigrate } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { requireMovable } from "./migration-check.ts";
import { askedFacts, isShared, readDeparture } from "./migration-fact.ts";
import { isExecuting, type Move } from "./migration-place.ts";
import { sharedState } from "./migration-state.ts";
import { migrationUri } from "./migration-uri.ts";
import type { DiskCopy } from "./migration-volume.ts";
import { requirePoolOfPath, volumeNameIn } from "./storage-reach.ts";

export interface MigrationPlan extends Move {
  readonly vmId: Vm["id"];
  readonly vmName: string;
  readonly targetUri: string;
  /** Volumes on the target for disks that are copied. */
  readonly copies: readonly DiskCopy[];
  /** Their paths, the same on both hosts. */
  readonly copiedPaths: readonly string[];
  /** Where its disks and media come from, in their order: what was checked and copied. */
  readonly sources: readonly string[];
  /** It starts with its host: so on the target, and meanwhile with neither. */
  readonly autostart: boolean;
  /** What its host keeps of it beside the definition, and the target does not share: firmware variables, a TPM's state. */
  readonly stateFiles: readonly string[];
  /** What the pre-flight found that is no error. */
  readonly findings: readonly MigrationFinding[];
}

export function sourcesOf({ disks }: VmSpec): string[] {
  return disks.map(({ target, source = "" }) => `${target} ${source}`);
}

export async function planMigration(
  deps: OperationDeps,
  stored: Vm,
  targetId: string,
  request: VmMigrate,
  call: Call,
): Promise<MigrationPlan> {
  const target = deps.inventory.require("host", targetId);
  const departure = await readDeparture(deps, stored, call);
  const findings = requireMovable(await askedFacts(deps, departure, target, request, call));
  const targetUri = migrationUri(target);
  if (targetUri === undefined) throw new AppError("internal", "a target without an address passed the check");
  const { vm, guest } = departure;
  const copied = vm.spec.disks.filter(
    (disk) => disk.device === "disk" && !isShared(deps.inventory, vm, targetId, disk),
  );
  const live = isActive(vm);
  const copies: DiskCopy[] = [];
  for (const disk of copied) copies.push(await planCopy(deps, vm, targetId, disk, live, call));
  const { stateFiles } = departure.traits;
  const shared = await sharedState(deps, { sourceId: vm.hostId, targetId }, stateFiles, call);
  return {
    sourceId: vm.hostId,
    targetId,
    uuid: vm.uuid,
    vmId: vm.id,
    vmName: vm.name,
    targetUri,
    live,
    executed: isExecuting(guest),
    copies,
    copiedPaths: copied.flatMap((disk) => disk.source ?? []),
    sources: sourcesOf(vm.spec),
    autostart: guest.autostart,
    stateFiles: stateFiles.filter((file) => !shared.includes(file)),
    keepsState: shared.length > 0,
    findings,
  };
}

/** A running guest's content is sent by the hypervisor into an empty volume; a stopped one's through the control plane. */
async function planCopy(
  deps: OperationDeps,
  vm: Vm,
  targetId: string,
  disk: VmDisk,
  live: boolean,
  call: Call,
): Promise<DiskCopy> {
  const { target, source = "", format = "raw" } = disk;
  const what = `Disk ${disk.target} of VM ${vm.name}`;
  const own = requirePoolOfPath(deps.inventory, vm.hostId, source, what);
  const there = requirePoolOfPath(deps.inventory, targetId, source, what);
  const stored = await deps.providers.get(vm.hostId).storage.volume.findVolumeByPath(source, call);
  if (stored === undefined) throw new AppError("not_found", `${what} (${source}) is gone from its storage.`);
  const name = volumeNameIn(there, source);
  if ((await deps.providers.get(targetId).storage.volume.findVolume(there.name, name, call)) !== undefined) {
    throw new AppError("conflict", `${what}: the target host has another file of that name; nothing was touched.`, {
      field: "copyDisks",
      remedy: "Move it away.",
    });
  }
  const volume = {
    poolName: there.name,
    name,
    format: format === "qcow2" ? "qcow2" : "raw",
    capacityBytes: stored.capacityBytes,
  } as const;
  if (live) return { target, volume };
  const from = { poolName: own.name, name: volumeNameIn(own, source) };
  const writtenAt = await deps.providers.get(vm.hostId).storage.volume.writtenAt(from.poolName, from.name, call);
  return { target, volume, source: { ...from, hostId: vm.hostId, writtenAt } };
}
