/**
 * Makes equal parts of documents one: of 50,000 VMs most have one of a few CPU settings, disk buses and tag lists, and
 * hosts of one make have the same long lists of machine types. What it returns is equal to what it was given, and deeply
 * frozen. It remembers in a table of fixed size, newest first, so it never grows: what is common is met again soon.
 */

/** A power of two. At 50,000 VMs more saves nothing: bench/inventory.ts. */
const defaultSlots = 32_768;

type Composite = object & { readonly [name: string]: unknown };

export class ValueShare {
  readonly #slots: unknown[];
  readonly #mask: number;
  /** Of the value that `#share` returned last. */
  #hash = 0;

  constructor(slots = defaultSlots) {
    this.#slots = Array.from({ length: slots });
    this.#mask = slots - 1;
  }

  /** For plain JSON values. */
  of<T>(value: T): T {
    return this.#share(value) as T;
  }

  #share(value: unknown): unknown {
    if (typeof value === "string") return this.#text(value);
    if (typeof value === "object" && value !== null) return this.#composite(value as Composite);
    this.#hash = typeof value === "number" ? mix(3, value | 0) : value === null ? 5 : value === true ? 7 : 11;
    return value;
  }

  #text(value: string): string {
    const hash = textHash(value);
    const slot = hash & this.#mask;
    const known = this.#slots[slot];
    this.#hash = hash;
    if (known === value) return known as string;
    this.#slots[slot] = value;
    return value;
  }

  /** Its parts are made one first: then two that are equal have identical parts. */
  #composite(value: Composite): unknown {
    const names = Object.keys(value);
    let hash = mix(Array.isArray(value) ? 13 : 17, names.length);
    const writable = value as Record<string, unknown>;
    const isFrozen = Object.isFrozen(value);
    for (const name of names) {
      const part = value[name];
      const shared = this.#share(part);
      hash = mix(hash, this.#hash);
      if (shared !== part && !isFrozen) writable[name] = shared;
    }
    const slot = hash & this.#mask;
    const known = this.#slots[slot];
    this.#hash = hash;
    if (known !== value && isSame(known, value, names)) return known;
    this.#slots[slot] = Object.freeze(value);
    return value;
  }
}

/** Whether two composites have the same names, in the same order, and identical parts. */
function isSame(known: unknown, value: Composite, names: readonly string[]): boolean {
  if (typeof known !== "object" || known === null || Array.isArray(known) !== Array.isArray(value)) return false;
  const others = Object.keys(known);
  return (
    others.length === names.length &&
    names.every((name, index) => others[index] === name && Object.is((known as Composite)[name], value[name]))
  );
}

function textHash(text: string): number {
  let hash = text.length;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash, 31) + text.charCodeAt(index);
  return mix(19, hash);
}

/** MurmurHash3's mixing of one block: https://github.com/aappleby/smhasher */
function mix(hash: number, value: number): number {
  let block = Math.imul(value, 0xcc9e2d51);
  block = (block << 15) | (block >>> 17);
  const mixed = hash ^ Math.imul(block, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}
