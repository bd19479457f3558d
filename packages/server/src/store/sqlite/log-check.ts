/**
 * Whether SQLite would silently leave out what was committed: of a write-ahead log it takes what comes before the first
 * frame that is not as it was written, and says nothing of the rest. What stands behind that place may be the end of a
 * write that was cut off with the power, which nobody was told of; more than one commit is not. Read before SQLite opens
 * the file, which may change it. Format: https://sqlite.org/fileformat.html §4 (The Write-Ahead Log).
 */
import { closeSync, openSync, readSync } from "node:fs";

const headerBytes = 32;
const frameHeaderBytes = 24;
/** The last bit tells the byte order of checksums. */
const magic = 0x37_7f_06_82;
/** Power may be cut in the middle of one. */
const cutOffMax = 1;

type Sum = readonly [number, number];

/** What is wrong with the log of a database file, as a sentence without its point; undefined if nothing is. */
export function checkLog(file: string): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(`${file}-wal`, "r");
  } catch {
    return undefined; // closed in good order; what else is wrong SQLite finds
  }
  try {
    return check(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function check(descriptor: number): string | undefined {
  const header = Buffer.alloc(headerBytes);
  if (readSync(descriptor, header) < headerBytes) return undefined;
  const pageBytes = header.readUInt32BE(8);
  const isBig = (header.readUInt32BE(0) & 1) === 1;
  const start = checksum([0, 0], header.subarray(0, 24), isBig);
  const isSound = (header.readUInt32BE(0) & ~1) >>> 0 === magic && isSame(start, sumAt(header, 24));
  const frame = Buffer.alloc(frameHeaderBytes + (isSound ? pageBytes : 0));
  // It is made durable before anything is written behind it.
  if (!isSound)
    return readSync(descriptor, frame) < frameHeaderBytes ? undefined : "The header of its write-ahead log is damaged";
  let before: Sum | undefined = start;
  let broken: number | undefined;
  let lost = 0;
  for (let number = 1; readSync(descriptor, frame) === frame.length; number++) {
    // Of the log's earlier rounds are those that have other salts.
    const isOwn = frame.compare(header, 16, 24, 8, 16) === 0;
    const own = sumAt(frame, 16);
    const follows = isOwn && before !== undefined && isSame(own, sumOf(before, frame, isBig));
    before = isOwn ? own : undefined;
    if (!follows) broken ??= number;
    else if (broken !== undefined && frame.readUInt32BE(4) > 0) lost++;
  }
  if (lost <= cutOffMax) return undefined;
  return `Its write-ahead log is damaged at frame ${broken}: ${lost} commits behind that place would be left out`;
}

/** Of a frame: the page's number and the commit's size, and the page. */
function sumOf(before: Sum, frame: Buffer, isBig: boolean): Sum {
  return checksum(checksum(before, frame.subarray(0, 8), isBig), frame.subarray(frameHeaderBytes), isBig);
}

/** §4.2; the length is a multiple of 8. */
function checksum([first, second]: Sum, bytes: Buffer, isBig: boolean): Sum {
  let [s0, s1] = [first, second];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 8) {
    s0 = (s0 + view.getUint32(at, !isBig) + s1) >>> 0;
    s1 = (s1 + view.getUint32(at + 4, !isBig) + s0) >>> 0;
  }
  return [s0, s1];
}

function sumAt(bytes: Buffer, at: number): Sum {
  return [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)];
}

function isSame(one: Sum, other: Sum): boolean {
  return one[0] === other[0] && one[1] === other[1];
}
