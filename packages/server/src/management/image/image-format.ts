/**
 * What a file is, from its first bytes, and whether it may become an image. A disk image from outside is hostile input:
 * a qcow2 file may name other files of the host as its backing or data file, may claim sizes that no disk has, or may be
 * cut off. Facts: QEMU docs/interop/qcow2.txt; VMDK, VDI, VHD: QEMU block/{vmdk,vdi,vpc,vhdx}.c; ISO 9660 §8.1; UEFI 2.10
 * §5.2.3 (MBR signature); Linux superblock offsets (ext4, XFS, btrfs, LUKS).
 */
import { type VolumeFormat, volumeMaxBytes } from "@innkeeper/contract/resource/volume.ts";
import { formatBytes } from "@innkeeper/contract/unit.ts";
import { AppError } from "#core/app-error.ts";

/** How much of a file's begin is looked at: enough for every signature and for the tables of usual qcow2 files. */
export const inspectedBytes = 4 * 1024 ** 2;

export interface InspectedFile {
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

/** invalid_field or unsupported with the reason when the file can't be an image. `head`: its first inspectedBytes, or all. */
export function inspectImage(head: Uint8Array, sizeBytes: number): InspectedFile {
  const has = ({ offset, bytes }: Signature): boolean => bytes.every((byte, index) => head[offset + index] === byte);
  if (has({ offset: 0, bytes: [0x51, 0x46, 0x49, 0xfb], name: "qcow2" })) {
    return { format: "qcow2", capacityBytes: inspectQcow2(head, sizeBytes) };
  }
  if (has({ offset: 32_769, bytes: ascii("CD001"), name: "ISO 9660" }))
    return { format: "iso", capacityBytes: sizeBytes };
  const other = otherDisks.find(has);
  if (other !== undefined) {
    throw new AppError("unsupported", `The file is a ${other.name} disk, which can't be used directly.`, {
      remedy: "Convert it first: qemu-img convert -O qcow2 FILE FILE.qcow2",
    });
  }
  const archive = packed.find(has);
  if (archive !== undefined) {
    throw notAnImage(`it is packed (${archive.name}): unpack it first`);
  }
  if (!rawDisks.some(has)) throw notAnImage("it has neither a known format nor a partition table or file system");
  if (sizeBytes % 512 !== 0) throw truncated(`a disk has whole sectors of 512 bytes, the file has ${sizeBytes} bytes`);
  return { format: "raw", capacityBytes: sizeBytes };
}

/** Header of versions 2 and 3: offsets in bytes, numbers big-endian. Returns the capacity. */
function inspectQcow2(head: Uint8Array, sizeBytes: number): number {
  if (head.byteLength < 104) throw truncated("its header is incomplete");
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw notAnImage(`it is qcow2 of unknown version ${version}`);
  if (view.getBigUint64(8) !== 0n) {
    throw refused("it needs another file (its backing file): flatten it first with qemu-img convert");
  }
  if (version === 3 && (view.getBigUint64(72) & 4n) !== 0n) {
    throw refused("it keeps its data in another file (its data file): flatten it first with qemu-img convert");
  }
  if (view.getUint32(32) !== 0) throw refused("it is encrypted: store it decrypted, or encrypt inside the guest");
  const clusterBits = view.getUint32(20);
  if (clusterBits < 9 || clusterBits > 21) throw notAnImage(`it is qcow2 with clusters of 2^${clusterBits} bytes`);
  const capacity = view.getBigUint64(24);
  if (capacity === 0n || capacity > BigInt(volumeMaxBytes)) {
    throw refused(`it claims ${capacity} bytes; disks have at most ${formatBytes(volumeMaxBytes)}`);
  }
  checkTables(view, sizeBytes, 2 ** clusterBits);
  return Number(capacity);
}

/** The tables that the header names, and the tables that the first of them names, must lie within the file. */
function checkTables(view: DataView, sizeBytes: number, clusterBytes: number): void {
  const l1Entries = view.getUint32(36);
  const l1Offset = Number(view.getBigUint64(40));
  const refcountEnd = Number(view.getBigUint64(48)) + view.getUint32(56) * clusterBytes;
  if (l1Offset + l1Entries * 8 > sizeBytes || refcountEnd > sizeBytes) throw truncated("its tables lie beyond its end");
  const offsetMask = 0x00ff_ffff_ffff_fe00n; // bits 9–55 of an L1 entry
  for (let entry = 0; entry < l1Entries; entry++) {
    const at = l1Offset + entry * 8;
    if (at + 8 > view.byteLength) return; // beyond what is looked at: the host finds it when it is opened
    const l2Offset = Number(view.getBigUint64(at) & offsetMask);
    if (l2Offset + clusterBytes > sizeBytes && l2Offset !== 0)
      throw truncated("data that it names lies beyond its end");
  }
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
