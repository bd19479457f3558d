/**
 * Whether an overlay has anything of its own, told by the qcow2 file itself: by its L1 table, which names no L2 table as
 * long as nothing was ever written, discarded or zeroed. File sizes can't tell: file systems compress, and clusters are of
 * any size. Whatever is not understood counts as changed. Facts: QEMU docs/interop/qcow2.txt.
 */

const magic = 0x5146_49fb;
const headerBytes = 104;
/** QCOW_MAX_L1_SIZE, QEMU block/qcow2.h. */
const l1MaxBytes = 32 * 1024 ** 2;
/** Incompatible features that leave the L1 table's meaning as it is: dirty (refcounts only), compression type, extended L2. */
const harmlessFeatures = 0b11001n;

/** `read` gives bytes of the file, fewer at its end. The guest must be off: QEMU keeps tables in memory. */
export async function isEmptyOverlay(read: (offset: number, length: number) => Promise<Uint8Array>): Promise<boolean> {
  const header = await read(0, headerBytes);
  if (header.byteLength < headerBytes) return false;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const version = view.getUint32(4);
  if (view.getUint32(0) !== magic || (version !== 2 && version !== 3)) return false;
  const internalSnapshots = view.getUint32(60);
  const features = version === 3 ? view.getBigUint64(72) : 0n;
  if (internalSnapshots !== 0 || (features & ~harmlessFeatures) !== 0n) return false;
  const l1Bytes = view.getUint32(36) * 8;
  if (l1Bytes > l1MaxBytes) return false;
  const l1 = await read(Number(view.getBigUint64(40)), l1Bytes);
  return l1.byteLength === l1Bytes && l1.every((byte) => byte === 0);
}
