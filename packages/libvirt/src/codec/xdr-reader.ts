// Reads XDR (RFC 4506) from one buffer. Every read checks what is left first, and a length read from the wire is checked
// against its limit and against what is left before anything is allocated.
// The limits are those of the libvirt that the schemas come from. Newer ones raise them, and a daemon keeps to its own, so
// an answer may exceed ours several times over; what is sent keeps to ours exactly.
import { CodecError } from "./codec-error.ts";

/** How much more than in our libvirt a list of a newer one may hold. */
const READ_HEADROOM = 16;
const SHORT_TEXT = 48;
const SLOTS = 4096;

/** Short ASCII strings repeat endlessly (parameter names, "running", pool names): one string object serves them all. */
const slots: (string | undefined)[] = Array.from({ length: SLOTS });

export class XdrReader {
  readonly bytes: Buffer;
  position: number;
  readonly end: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, position = 0, end = bytes.byteLength) {
    this.bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
    this.end = end;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.end - this.position;
  }

  /** Advances over `count` bytes and returns where they begin. */
  take(count: number): number {
    const at = this.position;
    if (count > this.end - at) throw new CodecError(`${count} bytes expected, ${this.end - at} left`);
    this.position = at + count;
    return at;
  }

  int(): number {
    return this.#view.getInt32(this.take(4));
  }

  uint(): number {
    return this.#view.getUint32(this.take(4));
  }

  hyper(): bigint {
    return this.#view.getBigInt64(this.take(8));
  }

  uhyper(): bigint {
    return this.#view.getBigUint64(this.take(8));
  }

  float(): number {
    return this.#view.getFloat32(this.take(4));
  }

  double(): number {
    return this.#view.getFloat64(this.take(8));
  }

  bool(): boolean {
    const value = this.uint();
    if (value > 1) throw new CodecError(`bool of ${value}`);
    return value === 1;
  }

  /** @param unit the least number of bytes one element takes. */
  length(limit: number, unit: number): number {
    const count = this.uint();
    if (count > limit * READ_HEADROOM)
      throw new CodecError(`length ${count} exceeds the limit of ${limit * READ_HEADROOM}`);
    if (count * unit > this.remaining) throw new CodecError(`length ${count} exceeds the ${this.remaining} bytes left`);
    return count;
  }

  string(limit: number): string {
    const length = this.length(limit, 1);
    const at = this.take((length + 3) & ~3);
    return length <= SHORT_TEXT ? this.#shortText(at, length) : this.bytes.toString("utf8", at, at + length);
  }

  /** A copy: the message's buffer is not kept alive by a field of it. */
  opaque(length: number): Uint8Array {
    const at = this.take((length + 3) & ~3);
    return new Uint8Array(this.bytes.subarray(at, at + length));
  }

  #shortText(at: number, length: number): string {
    const { bytes } = this;
    let hash = length;
    let wide = 0;
    for (let index = at; index < at + length; index += 1) {
      const byte = bytes[index] ?? 0;
      wide |= byte;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    if (wide > 127) return bytes.toString("utf8", at, at + length);
    const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    const known = slots[slot];
    if (known !== undefined && known.length === length && isSame(known, bytes, at)) return known;
    const text = bytes.toString("latin1", at, at + length);
    slots[slot] = text;
    return text;
  }
}

function isSame(text: string, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (text.charCodeAt(index) !== bytes[at + index]) return false;
  }
  return true;
}
