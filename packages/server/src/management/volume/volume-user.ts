/**
 * Who uses a volume: VMs by a disk or a layer below it, snapshots by a frozen layer or saved memory, images, and overlays
 * that grew on it. On shared storage the users on all hosts count. What is used is never deleted nor overwritten.
 */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { pathOn } from "#management/vm/storage-reach.ts";

interface VolumeUser {
  readonly kind: "vm" | "snapshot" | "image" | "volume";
  readonly id: string;
  /** As the end of "is used by": `disk vda of VM web1`. */
  readonly words: string;
  /** A guest that runs has it open. */
  readonly running: boolean;
  /** It may change at any moment. */
  readonly writing: boolean;
}

const idle = { running: false, writing: false } as const;

type Located = Pick<Volume, "hostId" | "path">;

/** `exceptImageId`: an image is no user of its own volume. */
export function volumeUsers(inventory: Inventory, volume: Located, exceptImageId?: string): VolumeUser[] {
  const isIt = matcher(inventory, volume);
  return [
    ...inventory.list("vm").flatMap((vm) => disksOf(vm, isIt)),
    ...snapshotUsers(inventory, isIt),
    ...inventory
      .list("image")
      .filter((image) => image.id !== exceptImageId && isIt(image.hostId, image.path))
      .map((image) => ({ kind: "image" as const, id: image.id, words: `image ${image.name}`, ...idle })),
    ...inventory
      .list("volume")
      .filter((other) => isIt(other.hostId, other.backingPath))
      .map((other) => ({
        kind: "volume" as const,
        id: other.id,
        words: `volume ${other.name}, an overlay on it`,
        ...idle,
      })),
  ];
}

type Matches = (hostId: string, path: string | undefined) => boolean;

function matcher(inventory: Inventory, volume: Located): Matches {
  const paths = new Map<string, string | undefined>();
  return (hostId, path) => {
    if (!paths.has(hostId)) paths.set(hostId, pathOn(inventory, volume.hostId, hostId, volume.path));
    return path !== undefined && path === paths.get(hostId);
  };
}

function disksOf(vm: Vm, isIt: Matches): VolumeUser[] {
  return vm.spec.disks
    .filter((disk) => [disk.source, ...(disk.backingChain ?? [])].some((path) => isIt(vm.hostId, path)))
    .map((disk) => ({
      kind: "vm",
      id: vm.id,
      words: `disk ${disk.target} of VM ${vm.name}`,
      running: runs(vm),
      writing: runs(vm) && disk.device === "disk" && disk.readOnly !== true && isIt(vm.hostId, disk.source),
    }));
}

/** Calls back with the words for a VM that comes to write to the volume from now on. Returns how to stop. */
export function onWriter(inventory: Inventory, volume: Located, came: (words: string) => void): () => void {
  const isIt = matcher(inventory, volume);
  return inventory.onChange((changes) => {
    for (const { kind, resource } of changes) {
      const users = kind === "vm" && resource !== undefined ? disksOf(resource as Vm, isIt) : [];
      for (const { writing, words } of users) if (writing) came(words);
    }
  });
}

/** A VM whose host can't be asked may run. */
function runs(vm: Vm): boolean {
  return isActive(vm) || vm.state === "unknown";
}

function snapshotUsers(inventory: Inventory, isIt: Matches): VolumeUser[] {
  return inventory.list("snapshot").flatMap((snapshot) => {
    const vm = inventory.get("vm", snapshot.vmId);
    if (vm === undefined) return [];
    const paths = [...snapshot.disks.map((disk) => disk.path), snapshot.memoryPath];
    if (!paths.some((path) => isIt(vm.hostId, path))) return [];
    const words = `snapshot ${snapshot.name} of VM ${vm.name}`;
    return [{ kind: "snapshot" as const, id: snapshot.id, words, ...idle }];
  });
}

/** `disk vda of VM web1, image debian-12 and 3 more`. */
export function describeUsers(users: readonly VolumeUser[]): string {
  const named = users.slice(0, 3).map((user) => user.words);
  const more = users.length - named.length;
  return more > 0 ? `${named.join(", ")} and ${more} more` : named.join(", ");
}
