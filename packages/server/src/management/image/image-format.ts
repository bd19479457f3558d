/**
 * What a file is, from its first bytes, and whether it may become an image. A disk image from outside is hostile input:
 * a qcow2 file may name other files of the host as its backing or data file, may claim sizes that no disk has, or may be
 * cut off. Facts: QEMU docs/interop/qcow2.txt; other disks: QEMU block/*.c; ISO 9660 §8.1; UEFI 2.10
 * §5.2.3 (MBR signature); Linux superblock offsets (ext4, XFS, btrfs, LUKS).
 */
import { type VolumeFormat, volumeMaxBytes } from "@innkeeper/contract/resource/volume.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";
import { endOfIso, endOfRaw } from "./disk-end.ts";
import { Qcow2Extent } from "./qcow2-extent.ts";
import { incompatibleBit, isQcow2, type Qcow2Header, readQcow2Header } from "./qcow2-header.ts";

/** How much of a file's begin is looked at: enough for every signature and for the tables of usual qcow2 files. */
export const inspectedBytes = 4 * 1024 ** 2;

interface InspectedFile {
  readonly format: Extract<VolumeFormat, "raw" | "qcow2" | "iso">;
  /** What a guest sees. */
  readonly capacityBytes: number;
}

interface Signature {
  readonly offset: number;
  readonly bytes: readonly number[];
  readonly name: string;
}

const ascii = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));

/** Other disk formats: libvirt could store them, but guests here run from raw and qcow2. */
const otherDisks: readonly Signature[] = [
  { offset: 0, bytes: ascii("KDMV"), name: "VMDK" },
  { offset: 0, bytes: ascii("COWD"), name: "VMDK" },
  { offset: 0, bytes: ascii("# Disk DescriptorFile"), name: "VMDK descriptor" },
  { offset: 64, bytes: [0x7f, 0x10, 0xda, 0xbe], name: "VDI" },
  { offset: 0, bytes: ascii("conectix"), name: "VHD" },
  { offset: 0, bytes: ascii("vhdxfile"), name: "VHDX" },
  { offset: 0, bytes: ascii("QED\0"), name: "QED" },
  { offset: 0, bytes: ascii("OOOM"), name: "COW" },
  { offset: 0, bytes: ascii("WithoutFreeSpace"), name: "Parallels" },
  { offset: 0, bytes: ascii("WithouFreSpacExt"), name: "Parallels" },
  { offset: 0, bytes: ascii("Bochs Virtual HD Image"), name: "Bochs" },
];

const packed: readonly Signature[] = [
  { offset: 0, bytes: [0x1f, 0x8b], name: "gzip" },
  { offset: 0, bytes: [0xfd, ...ascii("7zXZ")], name: "xz" },
  { offset: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], name: "zstd" },
  { offset: 0, bytes: ascii("BZh"), name: "bzip2" },
  { offset: 0, bytes: ascii("PK\u0003\u0004"), name: "zip" },
  { offset: 0, bytes: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], name: "7z" },
  { offset: 257, bytes: ascii("ustar"), name: "tar (an OVA is one)" },
];

/** What a raw disk begins with: a partition table, a boot sector, or a file system on the whole disk. */
const rawDisks: readonly Signature[] = [
  { offset: 510, bytes: [0x55, 0xaa], name: "boot sector or partition table" },
  { offset: 512, bytes: ascii("EFI PART"), name: "GPT" },
  { offset: 4096, bytes: ascii("EFI PART"), name: "GPT of 4 KiB sectors" },
  { offset: 1080, bytes: [0x53, 0xef], name: "ext2, ext3 or ext4" },
  { offset: 0, bytes: ascii("XFSB"), name: "XFS" },
  { offset: 65_600, bytes: ascii("_BHRfS_M"), name: "btrfs" },
  { offset: 0, bytes: ascii("LUKS\u00ba\u00be"), name: "LUKS" },
  { offset: 536, bytes: ascii("LVM2 001"), name: "LVM" },
];

/** Which other format's signature a file begins with; programs that probe would take it for one, and follow it to other files. */
export function otherDisk(head: Uint8Array): string | undefined {
  const has = ({ offset, bytes }: Signature): boolean => bytes.every((byte, index) => head[offset + index] === byte);
  return otherDisks.find(has)?.name;
}

/** Whether something makes a raw disk of it: a partition table, a boot sector, a file system; or nothing was written yet. */
export function isRawDisk(head: Uint8Array): boolean {
  const has = ({ offset, bytes }: Signature): boolean => bytes.every((byte, index) => head[offset + index] === byte);
  return rawDisks.some(has) || (head.byteLength > 0 && head.every((byte) => byte === 0));
}

function requireExtent(endBytes: number, sizeBytes: number): void {
  if (endBytes > sizeBytes) throw truncated(`it says that it has ${endBytes} bytes, there are ${sizeBytes}`);
}

/** invalid_field or unsupported with the reason when the file can't be an image. `head`: its first inspectedBytes, or all. */
export function inspectImage(head: Uint8Array, sizeBytes: number): InspectedFile {
  const has = ({ offset, bytes }: Signature): boolean => bytes.every((byte, index) => head[offset + index] === byte);
  if (isQcow2(head)) {
    return { format: "qcow2", capacityBytes: inspectQcow2(head, sizeBytes) };
  }
  if (has({ offset: 32_769, bytes: ascii("CD001"), name: "ISO 9660" })) {
    requireExtent(endOfIso(head), sizeBytes);
    return { format: "iso", capacityBytes: sizeBytes };
  }
  const other = otherDisk(head);
  if (other !== undefined) {
    throw new AppError("unsupported", `The file is a ${other} disk, which can't be used directly.`, {
      remedy: "Convert it first: qemu-img convert -O qcow2 FILE FILE.qcow2",
    });
  }
  const archive = packed.find(has);
  if (archive !== undefined) {
    throw notAnImage(`it is packed (${archive.name}): unpack it first`);
  }
  if (!rawDisks.some(has)) throw notAnImage("it has neither a known format nor a partition table or file system");
  if (sizeBytes % 512 !== 0) throw truncated(`a disk has whole sectors of 512 bytes, the file has ${sizeBytes} bytes`);
  requireExtent(endOfRaw(head), sizeBytes);
  return { format: "raw", capacityBytes: sizeBytes };
}

/** QEMU's own limits: block/qcow2.h QCOW_MAX_L1_SIZE, QCOW_MAX_REFTABLE_SIZE, QCOW_MAX_SNAPSHOTS. */
export const l1MaxBytes = 32 * 1024 ** 2;
const refcountMaxBytes = 8 * 1024 ** 2;
const snapshotsMax = 65_536;
const knownFeatures = Object.values(incompatibleBit).reduce((all, bit) => all | bit, 0n);

/** Returns the capacity. */
function inspectQcow2(head: Uint8Array, sizeBytes: number): number {
  const header = readQcow2Header(head);
  if (header === undefined) throw truncated("its header is incomplete");
  if (header.version !== 2 && header.version !== 3)
    throw notAnImage(`it is qcow2 of unknown version ${header.version}`);
  if (header.backingPath !== undefined) {
    throw refused("it needs another file (its backing file): flatten it first with qemu-img convert");
  }
  if (header.hasDataFile) {
    throw refused("it keeps its data in another file (its data file): flatten it first with qemu-img convert");
  }
  if (header.cryptMethod !== 0) throw refused("it is encrypted: store it decrypted, or encrypt inside the guest");
  if ((header.incompatible & incompatibleBit.corrupt) !== 0n) {
    throw refused("it is marked as corrupt: repair it first with qemu-img check -r all");
  }
  const unknown = header.incompatible & ~knownFeatures;
  if (unknown !== 0n) throw refused(`it needs features that QEMU does not have (0x${unknown.toString(16)})`);
  if (header.clusterBits < 9 || header.clusterBits > 21) {
    throw notAnImage(`it is qcow2 with clusters of 2^${header.clusterBits} bytes`);
  }
  const { capacityBytes } = header;
  if (capacityBytes === 0n || capacityBytes > BigInt(volumeMaxBytes)) {
    throw refused(`it claims ${capacityBytes} bytes; disks have at most ${formatBytes(volumeMaxBytes)}`);
  }
  checkTables(header, head, sizeBytes);
  return Number(capacityBytes);
}

/** The tables that the header names, and the tables that the first of them names, must be sound and within the file. */
function checkTables(header: Qcow2Header, head: Uint8Array, sizeBytes: number): void {
  const clusterBytes = 2 ** header.clusterBits;
  const l1Bytes = header.l1Entries * 8;
  const refcountBytes = header.refcountClusters * clusterBytes;
  const perL1Entry = clusterBytes * (clusterBytes / 8);
  const isAligned = [header.l1Offset, header.refcountOffset].every((offset) => offset % BigInt(clusterBytes) === 0n);
  if (!isAligned || l1Bytes > l1MaxBytes || refcountBytes > refcountMaxBytes || refcountBytes === 0) {
    throw refused("its tables can't be read: it is damaged");
  }
  if (header.l1Entries * perL1Entry < Number(header.capacityBytes)) {
    throw refused("its first table is too small for its size: it is damaged");
  }
  if (header.snapshotCount > snapshotsMax) throw refused(`it claims ${header.snapshotCount} snapshots: it is damaged`);
  const snapshotsEnd = header.snapshotCount === 0 ? 0 : Number(header.snapshotsOffset) + 1;
  const ends = [Number(header.l1Offset) + l1Bytes, Number(header.refcountOffset) + refcountBytes, snapshotsEnd];
  if (ends.some((end) => end > sizeBytes)) throw truncated("its tables lie beyond its end");
  const extent = new Qcow2Extent(header, sizeBytes);
  extent.push(head);
  requireWhole(extent);
}

/** For the whole file, as it streams by; undefined for a format without tables. */
export function contentExtent(head: Uint8Array, sizeBytes: number): Qcow2Extent | undefined {
  const header = isQcow2(head) ? readQcow2Header(head) : undefined;
  return header && new Qcow2Extent(header, sizeBytes);
}

/** Throws when a part of the file is missing. */
export function requireWhole(extent: Qcow2Extent | undefined): void {
  if (extent?.isBeyond === true) throw truncated("data that it names lies beyond its end");
}

function notAnImage(why: string): AppError {
  return new AppError("invalid_field", `The file is not a disk image: ${why}. Nothing was stored.`);
}

function refused(why: string): AppError {
  return new AppError("invalid_field", `The qcow2 file is refused: ${why}. Nothing was stored.`);
}

function truncated(why: string): AppError {
  return new AppError("invalid_field", `The file is cut off: ${why}. Nothing was stored.`);
}
