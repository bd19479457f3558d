/**
 * Where a disk ends by what is written on it, so that a file whose end is missing is noticed: 0 when nothing says so.
 * Facts: UEFI 2.10 §5.2.3 (MBR), §5.3.2 (GPT header); ISO 9660 §8.4.8 (ECMA-119); Linux fs/ext4/ext4.h.
 */
const sectorBytes = 512;
const protectiveType = 0xee;

/** Of a partition table, else of a file system on the whole disk. */
export function endOfRaw(head: Uint8Array): number {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return endOfGpt(view) || endOfMbr(view) || endOfExt(view);
}

export function endOfIso(head: Uint8Array): number {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const volumeSpace = 32_768 + 80;
  if (view.byteLength < volumeSpace + 8) return 0;
  // Both byte orders are there; the logical block is 2048 bytes.
  return view.getUint32(volumeSpace, true) * 2048;
}

/** The second header is the disk's last sector. */
function endOfGpt(view: DataView): number {
  for (const lbaBytes of [sectorBytes, 4096]) {
    if (view.byteLength < lbaBytes + 40 || view.getBigUint64(lbaBytes) !== 0x4546_4920_5041_5254n) continue; // "EFI PART"
    return Number(view.getBigUint64(lbaBytes + 32, true) + 1n) * lbaBytes;
  }
  return 0;
}

/** A boot sector without partitions has code where the table would be: then a status byte is neither 0 nor 0x80. */
function endOfMbr(view: DataView): number {
  if (view.byteLength < sectorBytes || view.getUint16(510) !== 0x55aa) return 0;
  const entries = [446, 462, 478, 494].map((at) => ({
    status: view.getUint8(at),
    type: view.getUint8(at + 4),
    endSector: view.getUint32(at + 8, true) + view.getUint32(at + 12, true),
  }));
  const isTable = entries.every(({ status, type }) => (status === 0 || status === 0x80) && type !== protectiveType);
  if (!isTable) return 0;
  return Math.max(...entries.map(({ type, endSector }) => (type === 0 ? 0 : endSector))) * sectorBytes;
}

/** Without the 64bit feature's upper half: such a file system is larger than what is looked for here. */
function endOfExt(view: DataView): number {
  const superblock = 1024;
  if (view.byteLength < superblock + 1024 || view.getUint16(superblock + 56, true) !== 0xef53) return 0;
  return view.getUint32(superblock + 4, true) * 1024 * 2 ** Math.min(view.getUint32(superblock + 24, true), 6);
}
