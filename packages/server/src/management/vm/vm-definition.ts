/**
 * The definitions of a new VM. Usually there is one; a VM that is installed has another for its first start, with the
 * installer's boot order and media. Invariant: once the VM has started, the last one is what its host keeps.
 */
import path from "node:path/posix";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { GuestDefinition } from "#virtualization/port.ts";
import { newGuestMetadata } from "./guest-metadata.ts";
import type { VmPlan } from "./vm-plan.ts";

type Plan = VmPlan & { readonly createdAt: string };

/** What the VM is started with first. `disks`: the plan's, made, in order. */
export function firstDefinition(plan: Plan, request: VmCreate, disks: readonly VmDisk[]): GuestDefinition {
  return request.installXml === undefined
    ? lastDefinition(plan, request, disks)
    : definition(plan, request, disks, request.installXml);
}

/** What the VM has from then on: media that were for the installation are out. */
export function lastDefinition(plan: Plan, request: VmCreate, disks: readonly VmDisk[]): GuestDefinition {
  const isInstalled = request.installXml !== undefined;
  const left = disks.map((disk, index): VmDisk => {
    if (!isInstalled || plan.disks[index]?.ejectAfterInstall !== true) return disk;
    const { source: _source, format: _format, ...drive } = disk;
    return { ...drive, sourceType: "file" };
  });
  return definition(plan, request, left, request.domainXml);
}

/** All that the VM will be defined from, before its disks are made: only their devices matter to the host's check. */
export function plannedDefinitions(inventory: Inventory, plan: Plan, request: VmCreate): GuestDefinition[] {
  const pools = inventory.byHost("storage-pool", plan.placement.hostId);
  const disks = plannedDisks(plan, (name) => pools.find((pool) => pool.name === name)?.path ?? `/${name}`);
  const last = lastDefinition(plan, request, disks);
  return request.installXml === undefined ? [last] : [last, firstDefinition(plan, request, disks)];
}

function plannedDisks(plan: Plan, folderOf: (poolName: string) => string): VmDisk[] {
  return plan.disks.map(({ disk, origin }) =>
    origin.kind === "empty"
      ? { ...disk, sourceType: "file" }
      : {
          ...disk,
          sourceType: origin.sourceType,
          format: origin.format,
          source: origin.kind === "existing" ? origin.path : path.join(folderOf(origin.poolName), origin.volumeName),
        },
  );
}

function definition(
  plan: Plan,
  request: VmCreate,
  disks: readonly VmDisk[],
  document: string | undefined,
): GuestDefinition {
  const metadata = newGuestMetadata(plan.vm.id, plan.createdAt, request);
  const { uuid, name } = plan.vm;
  const spec = { ...plan.spec, disks: [...disks] };
  return { uuid, name, spec, metadata, ...(document !== undefined && { document }) };
}
