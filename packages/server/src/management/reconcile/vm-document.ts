/** A guest as its host has it → the VM's document. What the host can't know is kept from the document before. */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Draft } from "#store/port.ts";
import type { Guest } from "#virtualization/port.ts";

interface Sighting {
  readonly id: Vm["id"];
  readonly hostId: Vm["hostId"];
  readonly guest: Guest;
  /** RFC 3339; when it was read. */
  readonly at: string;
}

export function vmDocument({ id, hostId, guest, at }: Sighting, previous: Vm | undefined): Draft<"vm"> {
  // A domain that was copied with virsh or virt-clone carries the facts of the VM that it was copied from.
  const own = guest.metadata?.vmId === id ? guest.metadata : undefined;
  const startedAt = startTime(guest, previous, at);
  return {
    id,
    uuid: guest.uuid,
    name: guest.name,
    hostId,
    state: guest.state,
    stateDetail: guest.stateDetail,
    description: own?.description ?? previous?.description ?? guest.description.slice(0, 4096),
    tags: [...(own?.tags ?? previous?.tags ?? [])],
    template: own?.template ?? previous?.template ?? false,
    persistent: guest.persistent,
    managed: own !== undefined || previous?.managed === true,
    spec: guest.spec,
    pendingChanges: [...guest.pendingChanges],
    addresses: isActive(guest) ? (previous?.addresses ?? []) : [],
    guestAgentConnected: guest.guestAgentConnected,
    currentSnapshotId: currentSnapshot(own === undefined ? undefined : own.currentSnapshotId, previous),
    foreignSnapshotCount: guest.foreignSnapshotCount,
    createdAt: own?.createdAt ?? previous?.createdAt ?? at,
    ...(startedAt === undefined ? {} : { startedAt }),
  };
}

function currentSnapshot(own: string | null | undefined, previous: Vm | undefined): Vm["currentSnapshotId"] {
  const current = own === undefined ? previous?.currentSnapshotId : own;
  return (current ?? null) as Vm["currentSnapshotId"];
}

/** libvirt does not tell since when a guest runs: it is known only of those that were seen to start. */
function startTime(guest: Guest, previous: Vm | undefined, at: string): string | undefined {
  if (!isActive(guest) || previous === undefined) return undefined;
  if (isActive(previous) || previous.state === "unknown") return previous.startedAt;
  return at;
}
