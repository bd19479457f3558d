/** Storage of one host through libvirt: its pools and volumes. */
import type { LibvirtContext } from "#libvirt/session.ts";
import type { HostStorage } from "#storage/port.ts";
import { LibvirtPool } from "./libvirt-pool.ts";
import { LibvirtVolume } from "./libvirt-volume.ts";

export function libvirtStorage(context: LibvirtContext): HostStorage {
  return { pool: new LibvirtPool(context), volume: new LibvirtVolume(context) };
}
