/** The header of a qcow2 file: QEMU docs/interop/qcow2.txt. Numbers are big-endian; the reader judges nothing. */

const magic = [0x51, 0x46, 0x49, 0xfb];
/** Version 2 ends at 72, version 3 at 104 bytes at least. */
const version2Bytes = 72;
const version3Bytes = 104;
/** "External data file name string". */
const dataFileExtension = 0x4441_5441;
/** "Backing file format name string". */
const backingFormatExtension = 0xe279_2aca;
const extensionsMax = 64;

/** Bits of incompatible_features that QEMU 7.2 knows: dirty, corrupt, external data file, compression type, extended L2. */
export const incompatibleBit = { dirty: 1n, corrupt: 2n, dataFile: 4n, compression: 8n, extendedL2: 16n } as const;

export interface Qcow2Header {
  readonly version: number;
  /** Path of the file below, as it is written; undefined if there is none. */
  readonly backingPath: string | undefined;
  /** Of the file below, as it is written: raw, qcow2 …; undefined if it is not. */
  readonly backingFormat: string | undefined;
  readonly clusterBits: number;
  readonly capacityBytes: bigint;
  readonly cryptMethod: number;
  readonly l1Entries: number;
  readonly l1Offset: bigint;
  readonly refcountOffset: bigint;
  readonly refcountClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: bigint;
  readonly incompatible: bigint;
  /** Its data is in another file. */
  readonly hasDataFile: boolean;
}

export function isQcow2(head: Uint8Array): boolean {
  return magic.every((byte, index) => head[index] === byte);
}

/** undefined when the header is cut off. */
export function readQcow2Header(head: Uint8Array): Qcow2Header | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.byteLength < version2Bytes) return undefined;
  const version = view.getUint32(4);
  if (version >= 3 && view.byteLength < version3Bytes) return undefined;
  const incompatible = version >= 3 ? view.getBigUint64(72) : 0n;
  const headerBytes = version >= 3 ? view.getUint32(100) : version2Bytes;
  const backingOffset = view.getBigUint64(8);
  return {
    version,
    backingPath: backingOffset === 0n ? undefined : textAt(head, Number(backingOffset), view.getUint32(16)),
    backingFormat: extensionText(head, view, headerBytes, backingFormatExtension),
    clusterBits: view.getUint32(20),
    capacityBytes: view.getBigUint64(24),
    cryptMethod: view.getUint32(32),
    l1Entries: view.getUint32(36),
    l1Offset: view.getBigUint64(40),
    refcountOffset: view.getBigUint64(48),
    refcountClusters: view.getUint32(56),
    snapshotCount: view.getUint32(60),
    snapshotsOffset: view.getBigUint64(64),
    incompatible,
    hasDataFile:
      (incompatible & incompatibleBit.dataFile) !== 0n ||
      findExtension(view, headerBytes, dataFileExtension) !== undefined,
  };
}

function textAt(head: Uint8Array, offset: number, length: number): string {
  return Buffer.from(head.subarray(offset, offset + length)).toString("utf8");
}

function extensionText(head: Uint8Array, view: DataView, start: number, wanted: number): string | undefined {
  const at = findExtension(view, start, wanted);
  return at === undefined ? undefined : textAt(head, at + 8, view.getUint32(at + 4));
}

/** Extensions follow the header: type, length, data padded to 8 bytes; type 0 ends them. Where the wanted one begins. */
function findExtension(view: DataView, start: number, wanted: number): number | undefined {
  let at = start;
  for (let count = 0; count < extensionsMax && at + 8 <= view.byteLength; count++) {
    const type = view.getUint32(at);
    if (type === 0) return undefined;
    if (type === wanted) return at;
    at += 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8;
  }
  return undefined;
}
