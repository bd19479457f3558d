// Chance that repeats: the same seed gives the same run. hash() gives a value for a name without any state; Random is a
// sequence (mulberry32, of public domain).

/** A 32-bit value that depends on every part (FNV-1a over the text, then a mix). */
export function hash(...parts: readonly (string | number)[]): number {
  let value = 0x811c9dc5;
  for (const part of parts) {
    const text = typeof part === "string" ? part : String(part);
    for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
    value = Math.imul(value ^ 0x7c, 0x01000193);
  }
  return mix(value);
}

/** hash() as a fraction: 0 ≤ x < 1. */
export function hashFraction(...parts: readonly (string | number)[]): number {
  return hash(...parts) / 0x1_0000_0000;
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 ≤ x < 1 */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let value = this.#state;
    value = Math.imul(value ^ (value >>> 15), value | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** 0 ≤ x < limit, whole. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** A version 4 UUID (RFC 9562 §5.4). */
  uuid(): string {
    const digits = Array.from({ length: 32 }, () => this.below(16).toString(16));
    digits[12] = "4";
    digits[16] = (8 + this.below(4)).toString(16);
    const text = digits.join("");
    return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
  }

  /** A MAC address as QEMU's (52:54:00). */
  mac(): string {
    return `52:54:00:${[0, 1, 2].map(() => this.below(256).toString(16).padStart(2, "0")).join(":")}`;
  }
}
