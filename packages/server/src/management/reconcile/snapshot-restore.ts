/**
 * The snapshot tree of a VM as its domain's XML has it, into the store: of a VM that comes (back) to us with our metadata,
 * and of each VM after a backup was restored or the store was recovered, for then the host knows better. What is in the
 * XML was written by us once but may have been edited since: entries that are not what they should be are left out.
 */
import { Type } from "typebox";
import { Check } from "typebox/value";
import { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import {
  configurationSpace,
  forgetSnapshot,
  putRetained,
  type RetainedLayer,
} from "#management/snapshot/snapshot-record.ts";
import type { Draft, StoreTransaction } from "#store/port.ts";
import type { Guest } from "#virtualization/port.ts";

const SnapshotFields = Type.Omit(Snapshot, ["revision", "vmId", "current"]);
const Entry = Type.Object({ kind: Type.Literal("snapshot"), configuration: Type.String() });
const Retained = Type.Object({ kind: Type.Literal("retained"), path: Type.String(), format: Type.String() });

/** Key: id of a VM whose stored tree is older than its host's. */
const recheckSpace = "vm-recheck";

export async function markForRecheck(transaction: StoreTransaction, vmId: string): Promise<void> {
  await transaction.putPrivate(recheckSpace, vmId, true);
}

/** Whether the VM was marked; it is no longer. */
export async function takeRecheck(transaction: StoreTransaction, vmId: string): Promise<boolean> {
  const isMarked = (await transaction.getPrivate(recheckSpace, vmId)) !== undefined;
  if (isMarked) await transaction.deletePrivate(recheckSpace, vmId);
  return isMarked;
}

/** `stored`: the VM's snapshots as the store has them; those that the XML no longer has are forgotten. */
export async function restoreSnapshots(
  transaction: StoreTransaction,
  vm: Pick<Vm, "id">,
  guest: Guest,
  stored: readonly Pick<Snapshot, "id">[],
): Promise<void> {
  const entries = guest.metadata?.snapshots ?? [];
  const retained: RetainedLayer[] = [];
  const found = new Set<string>();
  for (const entry of entries) {
    if (Check(Retained, entry)) retained.push({ path: entry.path, format: entry.format });
    if (!Check(Entry, entry) || !Check(SnapshotFields, entry)) continue;
    const { kind: _, configuration, ...rest } = entry as typeof entry & Draft<"snapshot">;
    const present = await transaction.get("snapshot", rest.id);
    // A copy of a domain carries the tree of the one that it was copied from.
    if (present !== undefined && present.vmId !== vm.id) continue;
    const current = rest.id === guest.metadata?.currentSnapshotId;
    await transaction.put("snapshot", { ...rest, vmId: vm.id, current });
    await transaction.putPrivate(configurationSpace, rest.id, configuration);
    found.add(rest.id);
  }
  for (const { id } of stored) if (!found.has(id)) await forgetSnapshot(transaction, id);
  await putRetained(transaction, vm.id, retained);
}
