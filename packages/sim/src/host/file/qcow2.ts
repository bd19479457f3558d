// The qcow2 format as far as a host without guests needs it: headers of images are written as qemu-img 7.2 writes them
// and read as libvirt reads them (QEMU docs/interop/qcow2.txt; libvirt 9.0 src/storage_file/storage_file_probe.c).

const MAGIC = 0x514649fb;
const CLUSTER_BITS = 16;
export const CLUSTER_BYTES = 2 ** CLUSTER_BITS;
const HEADER_BYTES = 112;
const EXTENSION_BACKING_FORMAT = 0xe2792aca;
const INCOMPATIBLE_EXTENDED_L2 = 1n << 4n;
const COMPATIBLE_LAZY_REFCOUNTS = 1n;

export interface Qcow2 {
  readonly capacityBytes: number;
  /** "1.1" (version 3) or "0.10" (version 2). */
  readonly compat: "1.1" | "0.10";
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
  readonly extendedL2: boolean;
  readonly backing?: { readonly path: string; readonly format?: string };
}

/** What `qemu-img create` makes. */
export function newQcow2(capacityBytes: number, backing?: Qcow2["backing"]): Qcow2 {
  return {
    capacityBytes,
    compat: "1.1",
    clusterBytes: CLUSTER_BYTES,
    lazyRefcounts: false,
    extendedL2: false,
    ...(backing === undefined ? {} : { backing }),
  };
}

/** How long the file of an image without data is: header, refcount table and block, and the first level of tables. */
export function emptyLength({ capacityBytes }: Qcow2): number {
  return 3 * CLUSTER_BYTES + l1Entries(capacityBytes) * 8;
}

/** What it takes of a file system that leaves holes. */
export function emptyAllocated({ capacityBytes }: Qcow2): number {
  return 3 * CLUSTER_BYTES + Math.ceil((l1Entries(capacityBytes) * 8) / 4_096) * 4_096;
}

function l1Entries(capacityBytes: number): number {
  const perL1Entry = CLUSTER_BYTES * (CLUSTER_BYTES / 8);
  return Math.max(1, Math.ceil(capacityBytes / perL1Entry));
}

/** The parts of an empty image's file that are not zeros: offset and bytes. */
export function renderEmpty(image: Qcow2): readonly (readonly [offset: number, bytes: Buffer])[] {
  const clusters = Math.ceil(emptyLength(image) / CLUSTER_BYTES);
  const refcountTable = Buffer.alloc(8);
  refcountTable.writeBigUInt64BE(BigInt(2 * CLUSTER_BYTES));
  const refcounts = Buffer.alloc(clusters * 2);
  for (let cluster = 0; cluster < clusters; cluster += 1) refcounts.writeUInt16BE(1, cluster * 2);
  return [
    [0, header(image)],
    [CLUSTER_BYTES, refcountTable],
    [2 * CLUSTER_BYTES, refcounts],
  ];
}

function header({ capacityBytes, compat, lazyRefcounts, extendedL2, backing }: Qcow2): Buffer {
  const format = Buffer.from(backing?.format ?? "");
  const path = Buffer.from(backing?.path ?? "");
  const extensionBytes = format.byteLength === 0 ? 8 : 16 + Math.ceil(format.byteLength / 8) * 8;
  const start = compat === "1.1" ? HEADER_BYTES : 72;
  const bytes = Buffer.alloc(start + extensionBytes + path.byteLength);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(compat === "1.1" ? 3 : 2, 4);
  if (path.byteLength > 0) {
    bytes.writeBigUInt64BE(BigInt(start + extensionBytes), 8);
    bytes.writeUInt32BE(path.byteLength, 16);
  }
  bytes.writeUInt32BE(CLUSTER_BITS, 20);
  bytes.writeBigUInt64BE(BigInt(capacityBytes), 24);
  bytes.writeUInt32BE(l1Entries(capacityBytes), 36);
  bytes.writeBigUInt64BE(BigInt(3 * CLUSTER_BYTES), 40);
  bytes.writeBigUInt64BE(BigInt(CLUSTER_BYTES), 48);
  bytes.writeUInt32BE(1, 56);
  if (compat === "1.1") {
    bytes.writeBigUInt64BE(extendedL2 ? INCOMPATIBLE_EXTENDED_L2 : 0n, 72);
    bytes.writeBigUInt64BE(lazyRefcounts ? COMPATIBLE_LAZY_REFCOUNTS : 0n, 80);
    bytes.writeUInt32BE(4, 96);
    bytes.writeUInt32BE(HEADER_BYTES, 100);
  }
  if (format.byteLength > 0) {
    bytes.writeUInt32BE(EXTENSION_BACKING_FORMAT, start);
    bytes.writeUInt32BE(format.byteLength, start + 4);
    format.copy(bytes, start + 8);
  }
  path.copy(bytes, start + extensionBytes);
  return bytes;
}

/** undefined when the bytes are not the beginning of a qcow2 image. */
export function parseQcow2(bytes: Buffer): Qcow2 | undefined {
  if (bytes.byteLength < 72 || bytes.readUInt32BE(0) !== MAGIC) return undefined;
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) return undefined;
  const isLong = version === 3 && bytes.byteLength >= 104;
  const features = (at: number): bigint => (isLong ? bytes.readBigUInt64BE(at) : 0n);
  const backing = readBacking(bytes, isLong ? bytes.readUInt32BE(100) : 72);
  return {
    capacityBytes: Number(bytes.readBigUInt64BE(24)),
    compat: version === 3 ? "1.1" : "0.10",
    clusterBytes: 2 ** bytes.readUInt32BE(20),
    lazyRefcounts: (features(80) & COMPATIBLE_LAZY_REFCOUNTS) !== 0n,
    extendedL2: (features(72) & INCOMPATIBLE_EXTENDED_L2) !== 0n,
    ...(backing === undefined ? {} : { backing }),
  };
}

function readBacking(bytes: Buffer, extensionsAt: number): Qcow2["backing"] {
  const at = Number(bytes.readBigUInt64BE(8));
  const length = bytes.readUInt32BE(16);
  if (at === 0 || length === 0 || at + length > bytes.byteLength) return undefined;
  const path = bytes.toString("utf8", at, at + length);
  for (let next = extensionsAt; next + 8 <= at;) {
    const type = bytes.readUInt32BE(next);
    const size = bytes.readUInt32BE(next + 4);
    if (type === 0 || next + 8 + size > at) break;
    if (type === EXTENSION_BACKING_FORMAT) return { path, format: bytes.toString("utf8", next + 8, next + 8 + size) };
    next += 8 + Math.ceil(size / 8) * 8;
  }
  return { path };
}
