/**
 * Whether a volume's content may be followed. A guest that has a raw disk can write a qcow2 header onto it that names any
 * file of the host as its backing or data file; whoever then reads the volume by its probed format (libvirt does when it
 * copies one, QEMU when a disk is attached as qcow2) gives the guest that file. So before a volume is copied, attached as
 * anything but raw, or made an image, its header is read: all that it names must be volumes themselves, and it must be
 * whole and no larger than any disk.
 */
import { posix } from "node:path";
import { volumeMaxBytes } from "@innkeeper/contract/resource/volume.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { otherDisk } from "#management/image/image-format.ts";
import { isQcow2, type Qcow2Header, readQcow2Header } from "#management/image/qcow2-header.ts";
import type { HostVolume, VolumePort } from "#storage/port.ts";

/**
 * Header, its extensions and the backing file's name lie in the first cluster; qemu-img puts the L1 table of a disk of up
 * to 4 TiB before the fifth: one read then tells whether all of it is there.
 */
const headBytes = 256 * 1024;
/** libvirt's and QEMU's chains are shorter; a longer one is a loop. */
const layersMax = 200;

type Volumes = Pick<VolumePort, "read" | "findVolumeByPath">;
type Located = Pick<HostVolume, "poolName" | "name" | "path">;

/** Throws invalid_field, naming `field`, when the volume leads out of the host's pools, and unsupported for other formats. */
export async function requireOwnContent(volumes: Volumes, volume: Located, call: Call, field: string): Promise<void> {
  const name = `Volume ${volume.name}`;
  let layer: Located = volume;
  for (let depth = 0; depth < layersMax; depth++) {
    const head = await headOf(volumes, layer, call);
    const other = otherDisk(head);
    if (other !== undefined) {
      throw new AppError("unsupported", `${name} holds a ${other} disk, which may name other files of the host.`, {
        field,
        remedy: "Convert it first: qemu-img convert -O qcow2 FILE FILE.qcow2",
      });
    }
    const header = isQcow2(head) ? await wholeHeader(volumes, { layer, head, name, field }, call) : undefined;
    if (header?.hasDataFile === true) throw leadsOut(name, "its data in another file (data file)", field);
    const backing = header?.backingPath;
    if (backing === undefined) return;
    const path = backingFile(layer, backing);
    const below = path === undefined ? undefined : await volumes.findVolumeByPath(path, call);
    if (below === undefined) throw leadsOut(name, `${JSON.stringify(backing)} as its backing file`, field);
    layer = below;
  }
  throw leadsOut(name, `a chain of more than ${layersMax} files`, field);
}

interface Layer {
  readonly layer: Located;
  readonly head: Uint8Array;
  readonly name: string;
  readonly field: string;
}

/** Throws invalid_field for one that QEMU could not open: cut off, or larger than any disk. */
async function wholeHeader(volumes: Volumes, { layer, head, name, field }: Layer, call: Call): Promise<Qcow2Header> {
  const header = readQcow2Header(head);
  const tablesEnd = header === undefined ? Infinity : endOfTables(header);
  if (header !== undefined && header.capacityBytes > BigInt(volumeMaxBytes)) {
    const most = formatBytes(volumeMaxBytes);
    const message = `${name} claims ${header.capacityBytes} bytes; disks have at most ${most}. Nothing was done.`;
    throw new AppError("invalid_field", message, { field });
  }
  const isShort = tablesEnd > head.byteLength && head.byteLength < headBytes;
  const isWhole = !isShort && (tablesEnd <= head.byteLength || (await reaches(volumes, layer, tablesEnd, call)));
  if (header !== undefined && isWhole) return header;
  throw new AppError("invalid_field", `${name} is cut off: its tables lie beyond its end. Nothing was done.`, {
    field,
    remedy: "Copy it anew from where it came, and refresh the pool.",
  });
}

function endOfTables(header: Qcow2Header): number {
  const l1End = Number(header.l1Offset) + header.l1Entries * 8;
  return Math.max(l1End, Number(header.refcountOffset) + header.refcountClusters * 2 ** header.clusterBits);
}

async function reaches(volumes: Volumes, { poolName, name }: Located, end: number, call: Call): Promise<boolean> {
  // Beyond what can be asked for: no file is so long.
  if (!Number.isSafeInteger(end)) return false;
  return (await volumes.read(poolName, name, { offset: end - 1, length: 1 }, call)).byteLength === 1;
}

/** A relative name is beside the layer itself; `json:…`, `nbd://…` and the like are no files of a pool (QEMU block.c). */
function backingFile(layer: Located, backing: string): string | undefined {
  if (/^[^/]*:/.test(backing) || /\p{Cc}/u.test(backing)) return undefined;
  return posix.resolve(posix.dirname(layer.path), backing);
}

/** A raw disk whose content would be taken for another format by whoever looks at it. */
export async function requireRawContent(volumes: Volumes, volume: Located, call: Call, field: string): Promise<void> {
  const head = await headOf(volumes, volume, call);
  const found = isQcow2(head) ? "qcow2" : otherDisk(head);
  if (found === undefined) return;
  const message = `Volume ${volume.name} is raw, but begins as a ${found} disk does: it can't be copied as it is. Nothing was done.`;
  throw new AppError("conflict", message, {
    field,
    remedy:
      "Its guest wrote that, which may be an attack. Copy it from inside the guest, or with qemu-img convert -f raw.",
  });
}

function headOf(volumes: Volumes, { poolName, name }: Located, call: Call): Promise<Uint8Array> {
  return volumes.read(poolName, name, { offset: 0, length: headBytes }, call);
}

function leadsOut(name: string, what: string, field: string): AppError {
  return new AppError(
    "invalid_field",
    `${name} names ${what}, which is no volume of this host's pools. Nothing was done.`,
    {
      field,
      remedy:
        "If that is right, put the file into a pool, or flatten the volume with qemu-img convert. Else a guest may have written it.",
    },
  );
}
