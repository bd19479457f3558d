/**
 * Whether a qcow2 file is whole, found while it streams by: every place that its tables name must lie within it. Without
 * this a file whose end is missing would be taken, and its guest would read zeroes or fail long afterwards. Entries: QEMU
 * docs/interop/qcow2.txt. A second-level table that comes before the first-level table is not looked at: QEMU writes none.
 */
import { incompatibleBit, type Qcow2Header } from "./qcow2-header.ts";

/** Bits 9–55 of an entry of either table, and of a standard cluster. */
const offsetMask = 0x00ff_ffff_ffff_fe00n;
const compressedBit = 1n << 62n;

/** What the entries of a file's tables name. */
export class Qcow2Entries {
  /** As large is a second-level table. */
  readonly clusterBytes: number;
  readonly #entryBytes: number;
  readonly #compressedOffsetMask: bigint;

  constructor(header: Qcow2Header) {
    this.clusterBytes = 2 ** header.clusterBits;
    this.#entryBytes = (header.incompatible & incompatibleBit.extendedL2) === 0n ? 8 : 16;
    this.#compressedOffsetMask = (1n << BigInt(62 - (header.clusterBits - 8))) - 1n;
  }

  /** Begins of second-level tables, in the order of the file; 0: there is none. */
  starts(firstLevel: Buffer): Float64Array {
    const starts = new Float64Array(Math.floor(firstLevel.length / 8));
    for (let entry = 0; entry < starts.length; entry++) {
      starts[entry] = Number(firstLevel.readBigUInt64BE(entry * 8) & offsetMask);
    }
    return starts.sort();
  }

  /** The farthest place that a second-level table names. */
  farthest(secondLevel: Buffer): number {
    let farthest = 0;
    for (let at = 0; at + 8 <= secondLevel.length; at += this.#entryBytes) {
      const entry = secondLevel.readBigUInt64BE(at);
      const offset = Number(entry & ((entry & compressedBit) === 0n ? offsetMask : this.#compressedOffsetMask));
      if (offset > farthest) farthest = offset;
    }
    return farthest;
  }
}

export class Qcow2Extent {
  readonly #sizeBytes: number;
  readonly #entries: Qcow2Entries;
  readonly #firstStart: number;
  readonly #firstBytes: number;
  /** Begins of second-level tables, in the order of the file; undefined until the first-level table has come. */
  #starts: Float64Array | undefined;
  #next = 0;
  /** What of the present table has come so far. */
  #partial: Buffer[] = [];
  #chunkStart = 0;
  #position = 0;
  #highest = 0;

  constructor(header: Qcow2Header, sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
    this.#entries = new Qcow2Entries(header);
    this.#firstStart = Number(header.l1Offset);
    this.#firstBytes = header.l1Entries * 8;
  }

  /** The farthest place that was named so far. */
  get highest(): number {
    return this.#highest;
  }

  /** Whether a place was named that lies at or behind the file's end. */
  get isBeyond(): boolean {
    return this.#highest >= this.#sizeBytes;
  }

  /** The next piece of the file. */
  push(chunk: Uint8Array): void {
    this.#chunkStart = this.#position;
    this.#position += chunk.byteLength;
    for (;;) {
      const start = this.#starts === undefined ? this.#firstStart : this.#starts[this.#next];
      if (start === undefined || start >= this.#position) return;
      const end = start + (this.#starts === undefined ? this.#firstBytes : this.#entries.clusterBytes);
      const from = Math.max(start, this.#chunkStart) - this.#chunkStart;
      this.#partial.push(Buffer.from(chunk.subarray(from, Math.min(end, this.#position) - this.#chunkStart)));
      if (end > this.#position) return;
      const table = Buffer.concat(this.#partial);
      this.#partial = [];
      if (this.#starts === undefined) this.#readFirst(table);
      else this.#readSecond(table);
    }
  }

  #readFirst(table: Buffer): void {
    this.#starts = this.#entries.starts(table);
    this.#note(this.#starts.at(-1) ?? 0);
    this.#skip();
  }

  #readSecond(table: Buffer): void {
    this.#note(this.#entries.farthest(table));
    this.#skip(this.#starts?.[this.#next]);
  }

  /** Past absent tables, the one just read, and those that have gone by and can't be read any more. */
  #skip(read = 0): void {
    for (;;) {
      const start = this.#starts?.[this.#next];
      if (start === undefined || (start > read && start >= this.#chunkStart)) return;
      this.#next++;
    }
  }

  #note(offset: number): void {
    if (offset > this.#highest) this.#highest = offset;
  }
}
