/**
 * The snapshot tree of a VM that comes (back) to us with our metadata: from its domain's XML into the store, so that
 * removing and adding a host loses no snapshot. What is in the XML was written by us once but may have been edited since:
 * entries that are not what they should be are left out.
 */
import { Type } from "typebox";
import { Check } from "typebox/value";
import { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { configurationSpace, putRetained, type RetainedLayer } from "#management/snapshot/snapshot-record.ts";
import type { Draft, StoreTransaction } from "#store/port.ts";
import type { Guest } from "#virtualization/port.ts";

const SnapshotFields = Type.Omit(Snapshot, ["revision", "vmId", "current"]);
const Entry = Type.Object({ kind: Type.Literal("snapshot"), configuration: Type.String() });
const Retained = Type.Object({ kind: Type.Literal("retained"), path: Type.String(), format: Type.String() });

export async function restoreSnapshots(transaction: StoreTransaction, vm: Pick<Vm, "id">, guest: Guest): Promise<void> {
  const entries = guest.metadata?.snapshots ?? [];
  const retained: RetainedLayer[] = [];
  for (const entry of entries) {
    if (Check(Retained, entry)) retained.push({ path: entry.path, format: entry.format });
    if (!Check(Entry, entry) || !Check(SnapshotFields, entry)) continue;
    const { kind: _, configuration, ...rest } = entry as typeof entry & Draft<"snapshot">;
    if ((await transaction.get("snapshot", rest.id)) !== undefined) continue;
    const current = rest.id === guest.metadata?.currentSnapshotId;
    await transaction.put("snapshot", { ...rest, vmId: vm.id, current });
    await transaction.putPrivate(configurationSpace, rest.id, configuration);
  }
  if (retained.length > 0) await putRetained(transaction, vm.id, retained);
}
