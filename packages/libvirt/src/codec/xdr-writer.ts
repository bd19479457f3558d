// Writes XDR (RFC 4506) into one growing buffer. Values are checked, never truncated: a number out of range, a string
// with a NUL (libvirt's C side would cut it there) or with a lone surrogate is refused.
import { CodecError } from "./codec-error.ts";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;

export class XdrWriter {
  bytes: Buffer;
  position: number;
  readonly #limit: number;

  /**
   * @param limit size that the buffer never exceeds.
   * @param position where writing begins; the caller fills what is before.
   */
  constructor(limit: number, position = 0, size = 512) {
    this.#limit = limit;
    this.position = position;
    this.bytes = Buffer.allocUnsafe(Math.min(limit, Math.max(size, position)));
  }

  /** Makes room for `count` bytes, advances over them and returns where they begin. */
  reserve(count: number): number {
    const at = this.position;
    const needed = at + count;
    if (needed > this.bytes.byteLength) {
      if (needed > this.#limit) throw new CodecError(`message of more than ${this.#limit} bytes`);
      const grown = Buffer.allocUnsafe(Math.min(this.#limit, Math.max(needed, this.bytes.byteLength * 2)));
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    this.position = needed;
    return at;
  }

  written(): Buffer {
    return this.bytes.subarray(0, this.position);
  }

  int(value: unknown): void {
    const checked = integer(value, -0x80000000, 0x7fffffff);
    const at = this.reserve(4);
    this.bytes.writeInt32BE(checked, at);
  }

  uint(value: unknown): void {
    const checked = integer(value, 0, 0xffffffff);
    const at = this.reserve(4);
    this.bytes.writeUInt32BE(checked, at);
  }

  /** A smaller integer type: on the wire an int. */
  small(value: unknown, minimum: number, maximum: number): void {
    this.int(integer(value, minimum, maximum));
  }

  hyper(value: unknown): void {
    const checked = long(value, INT64_MIN, INT64_MAX);
    const at = this.reserve(8);
    this.bytes.writeBigInt64BE(checked, at);
  }

  uhyper(value: unknown): void {
    const checked = long(value, 0n, UINT64_MAX);
    const at = this.reserve(8);
    this.bytes.writeBigUInt64BE(checked, at);
  }

  float(value: unknown): void {
    const at = this.reserve(4);
    this.bytes.writeFloatBE(numeric(value), at);
  }

  double(value: unknown): void {
    const at = this.reserve(8);
    this.bytes.writeDoubleBE(numeric(value), at);
  }

  bool(value: unknown): void {
    if (typeof value !== "boolean") throw new CodecError(`a boolean is needed, not ${describe(value)}`);
    this.uint(value ? 1 : 0);
  }

  string(value: unknown, limit: number): void {
    if (typeof value !== "string") throw new CodecError(`a string is needed, not ${describe(value)}`);
    if (value.includes("\0")) throw new CodecError("a string with a NUL character");
    if (!value.isWellFormed()) throw new CodecError("a string with a lone surrogate");
    const length = Buffer.byteLength(value);
    if (length > limit) throw new CodecError(`a string of ${length} bytes exceeds the limit of ${limit}`);
    this.uint(length);
    const at = this.#padded(length);
    this.bytes.write(value, at, length, "utf8");
  }

  length(count: number, limit: number): void {
    if (count > limit) throw new CodecError(`${count} elements exceed the limit of ${limit}`);
    this.uint(count);
  }

  opaque(value: unknown, minimum: number, maximum: number): void {
    if (!(value instanceof Uint8Array)) throw new CodecError(`a Uint8Array is needed, not ${describe(value)}`);
    const { byteLength } = value;
    if (byteLength < minimum || byteLength > maximum)
      throw new CodecError(`${byteLength} bytes, not ${minimum} to ${maximum}`);
    if (minimum !== maximum) this.uint(byteLength);
    const at = this.#padded(byteLength);
    this.bytes.set(value, at);
  }

  #padded(length: number): number {
    const size = (length + 3) & ~3;
    const at = this.reserve(size);
    this.bytes.fill(0, at + length, at + size);
    return at;
  }
}

function integer(value: unknown, minimum: number, maximum: number): number {
  if (typeof value !== "number" || !Number.isInteger(value))
    throw new CodecError(`an integer number is needed, not ${describe(value)}`);
  if (value < minimum || value > maximum) throw new CodecError(`${value} is not within ${minimum} … ${maximum}`);
  return value;
}

function long(value: unknown, minimum: bigint, maximum: bigint): bigint {
  if (typeof value !== "bigint") throw new CodecError(`a bigint is needed, not ${describe(value)}`);
  if (value < minimum || value > maximum) throw new CodecError(`${value} is not within ${minimum} … ${maximum}`);
  return value;
}

function numeric(value: unknown): number {
  if (typeof value !== "number") throw new CodecError(`a number is needed, not ${describe(value)}`);
  return value;
}

/** What a wrong value is, without its content: it may be a secret. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "number" && !Number.isInteger(value) ? "a fraction" : `a value of type ${typeof value}`;
}
