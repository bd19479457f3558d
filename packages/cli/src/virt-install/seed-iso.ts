/**
 * A CD with a few small files in its root, labelled `cidata` as cloud-init looks for it: ISO 9660 (ECMA-119) with Rock
 * Ridge names (RRIP 1.12, SUSP 1.12), since those of plain ISO 9660 have no lower case and no hyphen.
 */

const sector = 2048;
const [volumeDescriptor, terminator, littlePathTable, bigPathTable, rootFolder] = [16, 17, 18, 19, 20] as const;

export function seedIso(files: Readonly<Record<string, string>>): Buffer {
  let next: number = rootFolder + 1;
  const entries = Object.entries(files).map(([name, text], index) => {
    const content = Buffer.from(text, "utf8");
    const at = next;
    next += Math.max(1, Math.ceil(content.length / sector));
    return { name, content, at, short: `FILE${index}.;1` };
  });
  const iso = Buffer.alloc(next * sector);
  const folder = Buffer.concat([
    record({ name: "\0", at: rootFolder, size: sector, isFolder: true, system: [useSystem(), extensions()] }),
    record({ name: "\u0001", at: rootFolder, size: sector, isFolder: true, system: [] }),
    ...entries.map(({ name, content, at, short }) =>
      record({ name: short, at, size: content.length, isFolder: false, system: [alternateName(name)] }),
    ),
  ]);
  if (folder.length > sector) throw new RangeError("too many files for a seed");
  folder.copy(iso, rootFolder * sector);
  writeDescriptors(iso, next);
  for (const { content, at } of entries) content.copy(iso, at * sector);
  return iso;
}

/** Numbers are written in both byte orders (ECMA-119 §7.2.3, §7.3.3). */
function both16(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(value, 0);
  bytes.writeUInt16BE(value, 2);
  return bytes;
}

function both32(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value, 0);
  bytes.writeUInt32BE(value, 4);
  return bytes;
}

interface Entry {
  readonly name: string;
  readonly at: number;
  readonly size: number;
  readonly isFolder: boolean;
  readonly system: readonly Buffer[];
}

/** §9.1; without a date, which nobody reads. */
function record({ name, at, size, isFolder, system }: Entry): Buffer {
  const identifier = Buffer.from(name, "latin1");
  const padding = Buffer.alloc(identifier.length % 2 === 0 ? 1 : 0);
  const body = Buffer.concat([
    Buffer.from([0]),
    both32(at),
    both32(size),
    Buffer.alloc(7),
    Buffer.from([isFolder ? 2 : 0, 0, 0]),
    both16(1),
    Buffer.from([identifier.length]),
    identifier,
    padding,
    ...system,
  ]);
  const odd = Buffer.alloc((body.length + 1) % 2);
  return Buffer.concat([Buffer.from([1 + body.length + odd.length]), body, odd]);
}

/** SUSP §5.3 "SP": there are system use entries. */
function useSystem(): Buffer {
  return Buffer.from([0x53, 0x50, 7, 1, 0xbe, 0xef, 0]);
}

/** SUSP §5.5 "ER": they are Rock Ridge's. */
function extensions(): Buffer {
  const identifier = Buffer.from("RRIP_1991A");
  return Buffer.concat([Buffer.from([0x45, 0x52, 8 + identifier.length, 1, identifier.length, 0, 0, 1]), identifier]);
}

/** RRIP §4.1.4 "NM". */
function alternateName(name: string): Buffer {
  const bytes = Buffer.from(name, "latin1");
  return Buffer.concat([Buffer.from([0x4e, 0x4d, 5 + bytes.length, 1, 0]), bytes]);
}

/** §8.4, §9.4. */
function writeDescriptors(iso: Buffer, sectorCount: number): void {
  const at = volumeDescriptor * sector;
  iso.writeUInt8(1, at);
  iso.write("CD001\u0001", at + 1, "latin1");
  iso.fill(0x20, at + 8, at + 72);
  iso.write("cidata", at + 40, "latin1");
  both32(sectorCount).copy(iso, at + 80);
  for (const offset of [120, 124]) both16(1).copy(iso, at + offset);
  both16(sector).copy(iso, at + 128);
  const table = Buffer.from([1, 0, rootFolder, 0, 0, 0, 1, 0, 0, 0]);
  both32(table.length).copy(iso, at + 132);
  iso.writeUInt32LE(littlePathTable, at + 140);
  iso.writeUInt32BE(bigPathTable, at + 148);
  record({ name: "\0", at: rootFolder, size: sector, isFolder: true, system: [] }).copy(iso, at + 156);
  iso.fill(0x20, at + 190, at + 813);
  iso.fill(0x30, at + 813, at + 881);
  iso.writeUInt8(1, at + 881);
  iso.writeUInt8(255, terminator * sector);
  iso.write("CD001\u0001", terminator * sector + 1, "latin1");
  table.copy(iso, littlePathTable * sector);
  Buffer.from([1, 0, 0, 0, 0, rootFolder, 0, 1, 0, 0]).copy(iso, bigPathTable * sector);
}
