/**
 * Snapshots that virsh and others keep in libvirt → Snapshot documents with `source: libvirt`, so that they are seen,
 * reverted to and deleted like Innkeeper's own. A snapshot's identity is its VM, its name and when it was taken; its id
 * stays as long as libvirt has it.
 */
import { isDeepStrictEqual } from "node:util";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { derivedId } from "#core/derived-id.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { foreignSnapshotsOf } from "#management/snapshot/snapshot-record.ts";
import type { Draft, StoreTransaction } from "#store/port.ts";
import type { Guest } from "#virtualization/port.ts";

interface ForeignSnapshotChanges {
  readonly put: readonly Draft<"snapshot">[];
  readonly gone: readonly Snapshot["id"][];
}

export function foreignSnapshotChanges(
  inventory: Inventory,
  vmId: Vm["id"],
  guest: Pick<Guest, "foreignSnapshots">,
): ForeignSnapshotChanges {
  const known = foreignSnapshotsOf(inventory, vmId);
  const idByName = new Map(
    guest.foreignSnapshots.map(({ name, createdAt }) => [
      name,
      known.find((each) => each.name === name && each.createdAt === createdAt)?.id ??
        derivedId("snapshot", vmId, name, createdAt),
    ]),
  );
  const drafts = guest.foreignSnapshots.map((found): Draft<"snapshot"> => {
    const { parentName, ...rest } = found;
    const parentId = parentName === undefined ? undefined : idByName.get(parentName);
    const id = idByName.get(rest.name) ?? derivedId("snapshot", vmId, rest.name, rest.createdAt);
    return { ...rest, id, vmId, source: "libvirt", parentId: parentId ?? null, quiesced: false };
  });
  const put = drafts.filter((draft) => {
    const previous = known.find((each) => each.id === draft.id);
    return previous === undefined || !isDeepStrictEqual({ ...draft, revision: previous.revision }, { ...previous });
  });
  const present = new Set(idByName.values());
  return { put, gone: known.flatMap(({ id }) => (present.has(id) ? [] : [id])) };
}

export async function applyForeignSnapshots(
  transaction: StoreTransaction,
  { put, gone }: ForeignSnapshotChanges,
): Promise<void> {
  for (const draft of put) await transaction.put("snapshot", draft);
  for (const id of gone) await transaction.delete("snapshot", id);
}
