// What kind of disk image a file is, by its first bytes, as libvirt probes it (libvirt 9.0
// src/storage_file/storage_file_probe.c fileTypeInfo); and the first bytes of new images.
import { newQcow2, parseQcow2, type Qcow2 } from "./qcow2.ts";

export interface Image {
  readonly format: string;
  /** undefined: as long as the file. */
  readonly capacityBytes?: number;
  readonly backing?: { readonly path: string; readonly format?: string };
  readonly qcow2?: Qcow2;
}

export const RAW: Image = { format: "raw" };

/** Where the disk's size stands, and in what unit. */
interface DiskSize {
  readonly at: number;
  readonly unit: number;
  readonly isLittle: boolean;
}

interface Probe {
  readonly format: string;
  readonly magic: Buffer;
  readonly magicAt: number;
  readonly size?: DiskSize;
}

const PROBES: readonly Probe[] = [
  { format: "iso", magic: Buffer.from("CD001"), magicAt: 32_769 },
  { format: "luks", magic: Buffer.from("LUKS\xba\xbe", "latin1"), magicAt: 0 },
  { format: "qcow", magic: Buffer.from("QFI\xfb\0\0\0\x01", "latin1"), magicAt: 0, size: big(24) },
  { format: "qed", magic: Buffer.from("QED\0", "latin1"), magicAt: 0, size: little(48, 1) },
  { format: "vmdk", magic: Buffer.from("KDMV"), magicAt: 0, size: little(12, 512) },
  { format: "vpc", magic: Buffer.from("conectix"), magicAt: 0, size: big(40) },
  { format: "vdi", magic: Buffer.from([0x7f, 0x10, 0xda, 0xbe]), magicAt: 64, size: little(368, 1) },
];

/** As far as an image's beginning has to be read. */
export const PROBE_BYTES = 33_792;
/** What qemu-img, and with it libvirt, can make. */
export const CREATABLE: readonly string[] = ["raw", "qcow2", "qcow", "qed", "vmdk", "vpc", "vdi"];

function big(at: number): DiskSize {
  return { at, unit: 1, isLittle: false };
}

function little(at: number, unit: number): DiskSize {
  return { at, unit, isLittle: true };
}

export function probeImage(bytes: Buffer): Image {
  const qcow2 = parseQcow2(bytes);
  if (qcow2 !== undefined) return qcow2Image(qcow2);
  for (const { format, magic, magicAt, size } of PROBES) {
    if (!bytes.subarray(magicAt, magicAt + magic.byteLength).equals(magic)) continue;
    if (size === undefined || bytes.byteLength < size.at + 8) return { format };
    const value = size.isLittle ? bytes.readBigUInt64LE(size.at) : bytes.readBigUInt64BE(size.at);
    return { format, capacityBytes: Number(value) * size.unit };
  }
  return RAW;
}

export function qcow2Image(qcow2: Qcow2): Image {
  const { capacityBytes, backing } = qcow2;
  return { format: "qcow2", capacityBytes, qcow2, ...(backing === undefined ? {} : { backing }) };
}

/** A new image of a format that is neither raw nor qcow2: as much of it as tells what it is. */
export function renderForeign(format: string, capacityBytes: number): Buffer {
  const probe = PROBES.find((each) => each.format === format);
  const bytes = Buffer.alloc(512);
  if (probe === undefined) return bytes;
  probe.magic.copy(bytes, probe.magicAt);
  const { size } = probe;
  if (size === undefined) return bytes;
  const value = BigInt(Math.floor(capacityBytes / size.unit));
  if (size.isLittle) bytes.writeBigUInt64LE(value, size.at);
  else bytes.writeBigUInt64BE(value, size.at);
  return bytes;
}

export function newImage(format: string, capacityBytes: number, backing?: Image["backing"]): Image {
  if (format === "qcow2") return qcow2Image(newQcow2(capacityBytes, backing));
  return { format, capacityBytes };
}
