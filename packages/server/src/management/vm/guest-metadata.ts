/**
 * Innkeeper's own facts about a VM, as they are kept in its domain's metadata, so that the inventory can be rebuilt from
 * the hosts alone. Invariant: written after every change of what it has; the store's documents are the source.
 */
import type { Vm, VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { GuestMetadata } from "#virtualization/port.ts";

/** What an administrator says of a VM, which no change of its definition may take along. */
export type OwnFacts = Pick<GuestMetadata, "description" | "tags" | "template" | "folder">;

export function ownFacts({ description, tags, template, folder = "" }: Vm): OwnFacts {
  return { description, tags, template, folder };
}

export function newGuestMetadata(
  vmId: string,
  createdAt: string,
  request: Pick<VmCreate, "description" | "tags" | "folder">,
): GuestMetadata {
  return {
    vmId,
    description: request.description ?? "",
    tags: request.tags ?? [],
    folder: request.folder ?? "",
    template: false,
    createdAt,
    snapshots: [],
    currentSnapshotId: null,
  };
}

/** Of a VM that exists, with the records of its snapshots. */
export function guestMetadata(vm: Vm, snapshots: readonly unknown[], currentSnapshotId: string | null): GuestMetadata {
  return { vmId: vm.id, ...ownFacts(vm), createdAt: vm.createdAt, snapshots, currentSnapshotId };
}
