/**
 * The layers that a host reaches and everyone who refers to them, as the pure model takes them: one path per layer, also
 * where a layer made by hand names the one below as `../base.qcow2`. Files are read anew from
 * the storage; who holds them comes from the inventory. Paths are those of this host; what other hosts refer to on
 * shared storage is translated, what only they reach can't lie on anything here.
 */
import { normalize } from "node:path/posix";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { OperationDeps } from "#management/operation/deps.ts";
import { pathOn, poolOfPath } from "#management/vm/storage-reach.ts";
import type { Hold, Layer, LayerWorld } from "./layer.ts";

/** `present`: guests as their host has them now, where that is newer than the inventory. */
export async function readWorld(
  deps: Pick<OperationDeps, "inventory" | "providers">,
  hostId: string,
  present: readonly Pick<Vm, "id" | "name" | "hostId" | "spec">[],
  call: Call,
): Promise<LayerWorld> {
  const { inventory } = deps;
  const layers = new Map<string, Layer>();
  const add = (given: string, below: string | undefined): void => {
    const path = normalize(given);
    const backing = below === undefined ? undefined : normalize(below);
    if (!layers.has(path)) layers.set(path, { path, backing });
  };
  /** Pools of this host whose files are all known as they are now. */
  const fresh = new Set<string>();
  const { pool, volume } = deps.providers.get(hostId).storage;
  for (const each of inventory.byHost("storage-pool", hostId)) {
    if (each.state !== "running") continue;
    // While a volume is being allocated libvirt refuses to read its pool anew: then what was read before counts, too.
    const refreshed = await pool.refreshPool(each.name, call).catch((error: unknown) => {
      if (error instanceof AppError && error.code === "host_unreachable") throw error;
      return undefined;
    });
    if (refreshed !== undefined) fresh.add(each.id);
    else {
      const known = inventory.byHost("volume", hostId).filter((stored) => stored.poolId === each.id);
      for (const stored of known) add(stored.path, stored.backingPath);
    }
    for (const stored of await volume.listVolumes(each.name, call)) add(stored.path, stored.backingPath);
  }
  const vms = inventory.list("vm").map((vm) => present.find((each) => each.id === vm.id) ?? vm);
  for (const other of inventory.list("volume")) {
    if (other.hostId === hostId || other.backingPath === undefined) continue;
    const backing = pathOn(inventory, other.hostId, hostId, other.backingPath);
    if (backing === undefined) continue;
    const here = pathOn(inventory, other.hostId, hostId, other.path);
    // Another host's view of shared storage may be older than ours.
    const ours = here === undefined ? undefined : poolOfPath(inventory, hostId, here);
    if (ours === undefined || !fresh.has(ours.id)) add(here ?? `${other.hostId}:${other.path}`, backing);
  }
  return { layers, holds: [...vmHolds(inventory, vms, hostId, add), ...otherHolds(inventory, vms, hostId)] };
}

type VmLike = Pick<Vm, "id" | "name" | "hostId" | "spec">;

/** Also tells `add` of the chains that hypervisors reported: they may lead through files outside of every pool. */
function vmHolds(
  inventory: Inventory,
  vms: readonly VmLike[],
  hostId: string,
  add: (path: string, backing: string | undefined) => void,
): Hold[] {
  const holds: Hold[] = [];
  for (const vm of vms) {
    for (const disk of vm.spec.disks) {
      if (disk.source === undefined) continue;
      const chain = [disk.source, ...(disk.backingChain ?? [])].map(
        (path) => pathOn(inventory, vm.hostId, hostId, path) ?? `${vm.hostId}:${path}`,
      );
      for (const [index, path] of chain.entries()) add(path, chain[index + 1]);
      const [path] = chain;
      if (path === undefined) continue;
      holds.push({
        path: normalize(path),
        kind: "vm",
        id: vm.id,
        title: `VM ${vm.name}`,
        vmId: vm.id,
        target: disk.target,
      });
    }
  }
  return holds;
}

function otherHolds(inventory: Inventory, vms: readonly VmLike[], hostId: string): Hold[] {
  const images = inventory.list("image").flatMap((image): Hold[] => {
    const path = pathOn(inventory, image.hostId, hostId, image.path);
    if (path === undefined) return [];
    return [{ path, kind: "image", id: image.id, title: `image ${image.name}`, vmId: undefined, target: undefined }];
  });
  const snapshots = inventory.list("snapshot").flatMap((snapshot): Hold[] => {
    const vm = vms.find((each) => each.id === snapshot.vmId);
    if (vm === undefined) return [];
    const title = `snapshot ${snapshot.name} of VM ${vm.name}`;
    return snapshot.disks.flatMap(({ path, target }) => {
      const here = pathOn(inventory, vm.hostId, hostId, path);
      return here === undefined ? [] : [{ path: here, kind: "snapshot", id: snapshot.id, title, vmId: vm.id, target }];
    });
  });
  return [...images, ...snapshots];
}
