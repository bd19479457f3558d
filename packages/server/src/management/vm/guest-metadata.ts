/**
 * Innkeeper's own facts about a VM, as they are kept in its domain's metadata, so that the inventory can be rebuilt from
 * the hosts alone. Invariant: written after every change of what it has; the store's documents are the source.
 */
import type { Vm, VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { GuestMetadata } from "#virtualization/port.ts";

export function newGuestMetadata(
  vmId: string,
  createdAt: string,
  request: Pick<VmCreate, "description" | "tags">,
): GuestMetadata {
  return {
    vmId,
    description: request.description ?? "",
    tags: request.tags ?? [],
    template: false,
    createdAt,
    snapshots: [],
    currentSnapshotId: null,
  };
}

/** Of a VM that exists, with the records of its snapshots. */
export function guestMetadata(
  vm: Pick<Vm, "id" | "description" | "tags" | "template" | "createdAt">,
  snapshots: readonly unknown[],
  currentSnapshotId: string | null,
): GuestMetadata {
  const { description, tags, template, createdAt } = vm;
  return { vmId: vm.id, description, tags, template, createdAt, snapshots, currentSnapshotId };
}
