/**
 * Whose a volume is that has a name which was asked for. A volume has nothing that says who made it, so one of that name is
 * only taken for what an interrupted attempt made if it is exactly that, and has no data: what someone else made in its
 * place is neither used nor removed.
 */
import type { Call } from "#core/call.ts";
import { isEmptyOverlay } from "#management/snapshot/empty-overlay.ts";
import type { HostVolume, VolumePort } from "#storage/port.ts";

interface WantedVolume {
  readonly poolName: string;
  readonly name: string;
  readonly format: string;
  readonly capacityBytes: number;
  /** What is preallocated looks the same as what is written. */
  readonly preallocate?: boolean | undefined;
}

/**
 * The volume, if it is as it was asked for; unless it is known to be made (`isMade`), also without any data. One that was
 * made may be larger than what was `asked`, if it is that which is known: storage rounds up (LVM to extents, libvirt 9.0
 * qcow2 and block devices to sectors).
 */
export async function ownVolume(
  port: VolumePort,
  wanted: WantedVolume,
  { isMade, asked = false }: { readonly isMade: boolean; readonly asked?: boolean },
  call: Call,
): Promise<HostVolume | undefined> {
  const there = await port.findVolume(wanted.poolName, wanted.name, call);
  if (there?.format !== wanted.format) return undefined;
  const isLarger = there.capacityBytes > wanted.capacityBytes;
  if (there.capacityBytes !== wanted.capacityBytes && !(isMade && asked && isLarger)) return undefined;
  if (isMade || wanted.preallocate === true) return there;
  return (await hasNoData(port, there, call)) ? there : undefined;
}

async function hasNoData(
  port: VolumePort,
  { poolName, name, format, allocationBytes }: HostVolume,
  call: Call,
): Promise<boolean> {
  if (format === "raw") return allocationBytes === 0;
  return await isEmptyOverlay((offset, length) => port.read(poolName, name, { offset, length }, call));
}
