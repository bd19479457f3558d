/**
 * What the disks that are asked for claim: images, from which they are made, shared; volumes that exist exclusively, so
 * that two VMs never take one, unless they are only read. Total: what is not found is refused by the plan.
 */
import type { VmDiskCreate } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { imageClaim, volumeClaimOf, volumeClaimOfPath } from "#management/pool/volume-claim.ts";
import { deviceOf } from "./disk-target.ts";

interface DiskClaims {
  readonly exclusive: readonly string[];
  readonly shared: readonly string[];
}

/** Without a host, paths count on every host: the VM may be placed on any. */
export function diskClaims(
  inventory: Inventory,
  hostId: string | undefined,
  disks: readonly VmDiskCreate[],
): DiskClaims {
  const exclusive = new Set<string>();
  const shared = new Set<string>();
  for (const disk of disks) {
    const isWritten = deviceOf(disk) === "disk" && disk.readOnly !== true;
    for (const claim of volumeClaims(inventory, hostId, disk)) (isWritten ? exclusive : shared).add(claim);
    for (const claim of imageClaims(inventory, disk)) shared.add(claim);
  }
  return { exclusive: [...exclusive], shared: [...shared] };
}

function volumeClaims(inventory: Inventory, hostId: string | undefined, disk: VmDiskCreate): string[] {
  if (disk.volumeId !== undefined) {
    const volume = inventory.get("volume", disk.volumeId);
    return volume === undefined ? [] : present(volumeClaimOf(inventory, volume));
  }
  const { path } = disk;
  if (path === undefined) return [];
  const hostIds = hostId === undefined ? inventory.list("host").map((host) => host.id) : [hostId];
  return hostIds.flatMap((id) => present(volumeClaimOfPath(inventory, id, path)));
}

/** The image, and its volume. */
function imageClaims(inventory: Inventory, { image: idOrName }: VmDiskCreate): string[] {
  if (idOrName === undefined) return [];
  const image = inventory.get("image", idOrName) ?? inventory.by("image", "name", idOrName)[0];
  if (image === undefined) return [];
  return [imageClaim(image.id), ...present(volumeClaimOfPath(inventory, image.hostId, image.path))];
}

function present(claim: string | undefined): string[] {
  return claim === undefined ? [] : [claim];
}
