/** A guest as its host has it → the VM's document. What the host can't know is kept from the document before. */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Draft } from "#store/port.ts";
import type { Guest, UnchangedGuest } from "#virtualization/port.ts";

interface Sighting {
  readonly id: Vm["id"];
  readonly hostId: Vm["hostId"];
  readonly guest: Guest | UnchangedGuest;
  /** RFC 3339; when it was read. */
  readonly at: string;
}

/** undefined: the guest's documents were not read, because they are as they were, and there is no document before. */
export function vmDocument(sighting: Sighting, previous: Vm | undefined): Draft<"vm"> | undefined {
  const { id, hostId, guest, at } = sighting;
  const defined = isWhole(guest) ? definedPart(id, guest, at, previous) : previous;
  if (defined === undefined) return undefined;
  const startedAt = startTime(guest, previous, at);
  return {
    id,
    uuid: guest.uuid,
    name: guest.name,
    hostId,
    state: guest.state,
    stateDetail: guest.stateDetail,
    description: defined.description,
    tags: [...defined.tags],
    ...(defined.folder === undefined || defined.folder === "" ? {} : { folder: defined.folder }),
    template: defined.template,
    persistent: guest.persistent,
    managed: defined.managed,
    spec: defined.spec,
    pendingChanges: [...defined.pendingChanges],
    addresses: isActive(guest) ? (previous?.addresses ?? []) : [],
    guestAgentConnected: defined.guestAgentConnected,
    currentSnapshotId: defined.currentSnapshotId,
    foreignSnapshotCount: guest.foreignSnapshotCount,
    createdAt: defined.createdAt,
    ...(startedAt === undefined ? {} : { startedAt }),
  };
}

export function isWhole(guest: Guest | UnchangedGuest): guest is Guest {
  return guest.spec !== undefined;
}

/** What the guest's documents say, and what they say of Innkeeper's own facts. */
function definedPart(id: Vm["id"], guest: Guest, at: string, previous: Vm | undefined) {
  // A domain that was copied with virsh or virt-clone carries the facts of the VM that it was copied from.
  const own = guest.metadata?.vmId === id ? guest.metadata : undefined;
  return {
    description: own?.description ?? previous?.description ?? guest.description.slice(0, 4096),
    tags: own?.tags ?? previous?.tags ?? [],
    folder: own?.folder ?? previous?.folder,
    template: own?.template ?? previous?.template ?? false,
    managed: own !== undefined || previous?.managed === true,
    spec: guest.spec,
    pendingChanges: guest.pendingChanges,
    guestAgentConnected: guest.guestAgentConnected,
    currentSnapshotId: currentSnapshot(own === undefined ? undefined : own.currentSnapshotId, previous),
    createdAt: own?.createdAt ?? previous?.createdAt ?? at,
  };
}

function currentSnapshot(own: string | null | undefined, previous: Vm | undefined): Vm["currentSnapshotId"] {
  const current = own === undefined ? previous?.currentSnapshotId : own;
  return (current ?? null) as Vm["currentSnapshotId"];
}

/** libvirt does not tell since when a guest runs: it is known only of those that were seen to start. */
function startTime(guest: Pick<Guest, "state">, previous: Vm | undefined, at: string): string | undefined {
  if (!isActive(guest) || previous === undefined) return undefined;
  if (isActive(previous) || previous.state === "unknown") return previous.startedAt;
  return at;
}
