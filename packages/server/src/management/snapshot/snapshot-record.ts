/**
 * What is stored of a VM's snapshots: their documents, the configuration of each, and the layers that no snapshot holds
 * any more but others still read (retained). All of it is also in the domain's metadata, from which `recover` rebuilds it.
 */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { SnapshotId } from "@innkeeper/contract/id.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { guestMetadata } from "#management/vm/guest-metadata.ts";
import type { Draft, Store, StoreTransaction } from "#store/port.ts";
import type { GuestMetadata } from "#virtualization/port.ts";

/** Key: snapshot id; value: its configuration, packed. */
export const configurationSpace = "snapshot-configuration";
/** Key: VM id; value: its retained layers. */
const retainedSpace = "retained-layer";

export interface RetainedLayer {
  readonly path: string;
  readonly format: string;
}

/** One entry of the metadata's `snapshots`. */
type SnapshotEntry =
  | ({ readonly kind: "snapshot"; readonly configuration: string } & Omit<Draft<"snapshot">, "vmId" | "current">)
  | ({ readonly kind: "retained" } & RetainedLayer);

/** Our own tree inside the XML (see the driver's metadata): a snapshot's configuration must not hold the tree again. */
const ownTree = /<innkeeper:snapshots\b[^>]*?(?:\/>|>[\s\S]*?<\/innkeeper:snapshots>)/g;

/** Domain XML as text that is small enough to live in metadata. */
export function packConfiguration(xml: string): string {
  return zstdCompressSync(xml.replaceAll(ownTree, "")).toString("base64");
}

export function unpackConfiguration(packed: string): string {
  return zstdDecompressSync(Buffer.from(packed, "base64")).toString("utf8");
}

/** Innkeeper's own. */
export function snapshotsOf(inventory: Inventory, vmId: string): Snapshot[] {
  return inventory.by("snapshot", "vmId", vmId).filter((snapshot) => snapshot.source === undefined);
}

/** Those that virsh and others made. */
export function foreignSnapshotsOf(inventory: Inventory, vmId: string): Snapshot[] {
  return inventory.by("snapshot", "vmId", vmId).filter((snapshot) => snapshot.source !== undefined);
}

/** The one that the VM's present disks grew from. */
export function currentSnapshot(inventory: Inventory, vmId: string): Snapshot | undefined {
  return snapshotsOf(inventory, vmId).find((snapshot) => snapshot.current);
}

export async function readConfiguration(store: Store, snapshot: Snapshot): Promise<string> {
  const packed = await store.transaction((transaction) => transaction.getPrivate(configurationSpace, snapshot.id));
  if (typeof packed === "string") return unpackConfiguration(packed);
  throw new AppError("internal", `The configuration of snapshot ${snapshot.name} is missing from the store.`);
}

export async function readRetained(store: Store, vmId: string): Promise<RetainedLayer[]> {
  return store.transaction((transaction) => retainedIn(transaction, vmId));
}

async function retainedIn(transaction: StoreTransaction, vmId: string): Promise<RetainedLayer[]> {
  return ((await transaction.getPrivate(retainedSpace, vmId)) as RetainedLayer[] | undefined) ?? [];
}

export async function putRetained(
  transaction: StoreTransaction,
  vmId: string,
  layers: readonly RetainedLayer[],
): Promise<void> {
  if (layers.length === 0) await transaction.deletePrivate(retainedSpace, vmId);
  else await transaction.putPrivate(retainedSpace, vmId, layers);
}

export async function dropRetained(
  transaction: StoreTransaction,
  vmId: string,
  paths: readonly string[],
): Promise<void> {
  const layers = await retainedIn(transaction, vmId);
  await putRetained(
    transaction,
    vmId,
    layers.filter((layer) => !paths.includes(layer.path)),
  );
}

/** Of all VMs. */
export async function listRetained(
  transaction: StoreTransaction,
): Promise<{ readonly vmId: string; readonly layers: readonly RetainedLayer[] }[]> {
  const entries = await transaction.listPrivate(retainedSpace);
  return entries.map(({ key, value }) => ({ vmId: key, layers: value as RetainedLayer[] }));
}

/** The new snapshot becomes the current one. */
export async function addSnapshot(store: Store, draft: Draft<"snapshot">, configuration: string): Promise<void> {
  await store.transaction(async (transaction) => {
    await transaction.putPrivate(configurationSpace, draft.id, configuration);
    await transaction.put("snapshot", draft);
    await setCurrent(transaction, draft.vmId, draft.id);
  });
}

/** Undoes addSnapshot; `parentId` is current again. */
export async function dropSnapshot(
  store: Store,
  vmId: string,
  id: SnapshotId,
  parentId: Snapshot["parentId"],
): Promise<void> {
  await store.transaction(async (transaction) => {
    await forgetSnapshot(transaction, id);
    await setCurrent(transaction, vmId, parentId);
  });
}

export async function forgetSnapshot(transaction: StoreTransaction, id: string): Promise<void> {
  await transaction.delete("snapshot", id);
  await transaction.deletePrivate(configurationSpace, id);
}

/** Everything of a VM that is gone. */
export async function forgetSnapshots(store: Store, vmId: string): Promise<void> {
  await store.transaction(async (transaction) => {
    for (const snapshot of await transaction.list("snapshot")) {
      if (snapshot.vmId === vmId) await forgetSnapshot(transaction, snapshot.id);
    }
    await transaction.deletePrivate(retainedSpace, vmId);
  });
}

export async function setCurrent(transaction: StoreTransaction, vmId: string, currentId: string | null): Promise<void> {
  for (const snapshot of await transaction.list("snapshot")) {
    if (snapshot.vmId !== vmId || snapshot.source !== undefined) continue;
    if (snapshot.current === (snapshot.id === currentId)) continue;
    const { revision: _, ...draft } = snapshot;
    await transaction.put("snapshot", { ...draft, current: snapshot.id === currentId });
  }
}

/** The metadata of a VM as the store has it now; `change` overrides what is about to be changed. */
export async function metadataOf(
  deps: Pick<OperationDeps, "inventory" | "store">,
  vmId: string,
  change: Partial<GuestMetadata> = {},
): Promise<GuestMetadata> {
  const vm = deps.inventory.require("vm", vmId);
  const snapshots = snapshotsOf(deps.inventory, vm.id);
  const entries = await deps.store.transaction(async (transaction): Promise<SnapshotEntry[]> => {
    const retained = (await retainedIn(transaction, vm.id)).map((layer) => ({ kind: "retained" as const, ...layer }));
    const found: SnapshotEntry[] = [...retained];
    for (const { revision: _r, vmId: _v, current: _c, ...rest } of snapshots) {
      const packed = await transaction.getPrivate(configurationSpace, rest.id);
      found.push({ kind: "snapshot", ...rest, configuration: typeof packed === "string" ? packed : "" });
    }
    return found;
  });
  const current = snapshots.find((snapshot) => snapshot.current)?.id ?? null;
  return { ...guestMetadata(vm, entries, current), ...change };
}

/** Writes the metadata as the store has it into the domain. */
export async function writeMetadata(deps: OperationDeps, vmId: string, call: Call): Promise<void> {
  const vm = deps.inventory.require("vm", vmId);
  const metadata = await metadataOf(deps, vmId);
  await deps.providers.get(vm.hostId).guest.lifecycle.change(vm.uuid, { metadata }, call);
}
