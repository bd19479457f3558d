/**
 * Whether a volume's content may be followed. A guest that has a raw disk can write a qcow2 header onto it that names any
 * file of the host as its backing or data file; whoever then reads the volume by its probed format (libvirt does when it
 * copies one, QEMU when a disk is attached as qcow2) gives the guest that file. So before a volume is copied, attached as
 * anything but raw, or made an image, its header is read: all that it names must be volumes themselves, and it must be
 * whole and no larger than any disk. A file whose name says qcow2 and whose content is no disk at all (a page that was
 * saved instead of the image, a download that is empty) is not taken for a raw disk, although libvirt lists it as one.
 */
import { posix } from "node:path";
import { volumeMaxBytes } from "@innkeeper/contract/resource/volume.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { isRawDisk, l1MaxBytes, otherDisk } from "#management/image/image-format.ts";
import { Qcow2Entries } from "#management/image/qcow2-extent.ts";
import { isQcow2, type Qcow2Header, readQcow2Header } from "#management/image/qcow2-header.ts";
import type { HostVolume, VolumePort } from "#storage/port.ts";

/**
 * Header, its extensions and the backing file's name lie in the first cluster; qemu-img puts the L1 table of a disk of up
 * to 4 TiB before the fifth: one read then tells whether all of it is there.
 */
const headBytes = 256 * 1024;
/**
 * Of the second-level tables the last are read: QEMU gives out places in order, so that they name the last clusters. With
 * clusters of 64 KiB these are all tables of a disk of 8 GiB. Each is a call of its own.
 */
const tablesReadMax = 16;
/** libvirt's and QEMU's chains are shorter; a longer one is a loop. */
const layersMax = 200;

type Volumes = Pick<VolumePort, "read" | "fileBytes" | "findVolumeByPath">;
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
    if (depth === 0) requireNamed(volume, head, field);
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
  if (header === undefined || !(await reaches(volumes, { layer, head }, tablesEnd, call)))
    throw cutOff(name, "its tables lie", field);
  // What its tables name is not in this file.
  if (header.hasDataFile) return header;
  const farthest = await farthestPlace(volumes, { layer, head, name, field }, header, call);
  if (await reaches(volumes, { layer, head }, farthest + 1, call)) return header;
  throw cutOff(name, "data that its tables name lies", field);
}

/** The farthest place that its tables name, as far as they are read: the first-level table, and the last of the others. */
async function farthestPlace(volumes: Volumes, of: Layer, header: Qcow2Header, call: Call): Promise<number> {
  const firstBytes = header.l1Entries * 8;
  if (firstBytes === 0) return 0;
  if (header.clusterBits < 9 || header.clusterBits > 21 || firstBytes > l1MaxBytes) {
    const message = `${of.name} is damaged: its tables can't be read. Nothing was done.`;
    throw new AppError("invalid_field", message, { field: of.field });
  }
  const entries = new Qcow2Entries(header);
  const starts = entries.starts(await piece(volumes, of, Number(header.l1Offset), firstBytes, call));
  const { clusterBytes } = entries;
  const last = starts.at(-1) ?? 0;
  // A table that is cut off itself tells no more than where it begins.
  if (!(await reaches(volumes, of, last + 1, call))) return last;
  let farthest = last;
  for (const start of starts.slice(-tablesReadMax).filter((each) => each > 0)) {
    farthest = Math.max(farthest, entries.farthest(await piece(volumes, of, start, clusterBytes, call)));
  }
  return farthest;
}

/** What is there of a part of the file. */
async function piece(
  volumes: Volumes,
  { layer: { poolName, name }, head }: Layer,
  offset: number,
  length: number,
  call: Call,
): Promise<Buffer> {
  const isRead = offset + length <= head.byteLength;
  return Buffer.from(
    isRead ? head.subarray(offset, offset + length) : await volumes.read(poolName, name, { offset, length }, call),
  );
}

function cutOff(name: string, what: string, field: string): AppError {
  return new AppError("invalid_field", `${name} is cut off: ${what} beyond its end. Nothing was done.`, {
    field,
    // What lies beyond the end reads as zeros (QEMU 7.2 bdrv_aligned_preadv).
    remedy:
      "Copy it anew from where it came, and refresh the pool. If there is no other copy (a host lost its power while it was written): on the host, with its VM off, qemu-img convert -O qcow2 FILE NEW saves what is there; what is missing is then zeros.",
  });
}

/** A disk that is used as raw, by its name: throws invalid_field when that says qcow2, and there is no disk in it. */
export async function requireDiskAsNamed(volumes: Volumes, volume: Located, call: Call, field: string): Promise<void> {
  if (isNamedQcow2(volume.path)) requireNamed(volume, await headOf(volumes, volume, call), field);
}

export function isNamedQcow2(path: string): boolean {
  return /\.qcow2$/i.test(path);
}

function requireNamed(volume: Located, head: Uint8Array, field: string): void {
  if (!isNamedQcow2(volume.path) || isQcow2(head) || isRawDisk(head)) return;
  const what = head.byteLength === 0 ? "is empty" : "has no qcow2 header, nor anything of a raw disk";
  throw new AppError("invalid_field", `Volume ${volume.name} is no disk: it ${what}. Nothing was done.`, {
    field,
    remedy: "Look what the file is (qemu-img info, file); copy or download it anew. A raw disk is not named .qcow2.",
  });
}

function endOfTables(header: Qcow2Header): number {
  const l1End = Number(header.l1Offset) + header.l1Entries * 8;
  return Math.max(l1End, Number(header.refcountOffset) + header.refcountClusters * 2 ** header.clusterBits);
}

/** Whether the file has `end` bytes. */
async function reaches(
  volumes: Volumes,
  { layer: { poolName, name }, head }: Pick<Layer, "layer" | "head">,
  end: number,
  call: Call,
): Promise<boolean> {
  // A head that is shorter than was asked for is the whole file.
  if (end <= head.byteLength || head.byteLength < headBytes) return end <= head.byteLength;
  return end <= (await volumes.fileBytes(poolName, name, call));
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
