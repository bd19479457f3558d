// The bytes of a file, of which only those that were written take room. Pages are never changed once they are stored, so
// that copies share them: a thousand clones of one image hold it once.

const PAGE = 65_536;
/** A file system's block: what a short page takes. */
const BLOCK = 4_096;
const ZERO_PAGE = Buffer.alloc(PAGE);

export interface Section {
  readonly offset: number;
  readonly length: number;
  readonly isHole: boolean;
}

export class SparseContent {
  readonly #pages: Map<number, Buffer>;
  #length: number;
  #allocated: number;

  constructor(from?: SparseContent) {
    this.#pages = new Map(from === undefined ? [] : from.#pages);
    this.#length = from === undefined ? 0 : from.#length;
    this.#allocated = from === undefined ? 0 : from.#allocated;
  }

  /** In bytes, holes included. */
  get length(): number {
    return this.#length;
  }

  /** What of it takes room, in bytes. */
  get allocated(): number {
    return this.#allocated;
  }

  /** Grows by a hole, or cuts off. */
  truncate(length: number): void {
    if (length < this.#length) {
      for (const [index, page] of this.#pages) {
        const kept = Math.min(Math.max(0, length - index * PAGE), page.byteLength);
        if (kept < page.byteLength) this.#put(index, kept === 0 ? undefined : page.subarray(0, kept));
      }
    }
    this.#length = length;
  }

  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength;) {
      const at = offset + done;
      const index = Math.floor(at / PAGE);
      const within = at % PAGE;
      const part = bytes.subarray(done, done + PAGE - within);
      this.#put(index, merged(this.#pages.get(index), within, part));
      done += part.byteLength;
    }
    this.#length = Math.max(this.#length, offset + bytes.byteLength);
  }

  /** Bytes from an offset: a copy, zeros where nothing was written, fewer than `length` at the end. */
  read(offset: number, length: number): Buffer {
    const end = Math.min(offset + length, this.#length);
    const bytes = Buffer.alloc(Math.max(0, end - offset));
    for (let index = Math.floor(offset / PAGE); index * PAGE < end; index += 1) {
      const page = this.#pages.get(index);
      if (page === undefined) continue;
      const start = index * PAGE;
      const from = Math.max(0, offset - start);
      page.copy(bytes, start + from - offset, from, Math.min(page.byteLength, end - start));
    }
    return bytes;
  }

  /** The parts of a range in their order: data, and the holes between, to the end of the file at most. */
  *sections(offset: number, length: number): Generator<Section> {
    const end = Math.min(offset + length, this.#length);
    const indexes = [...this.#pages.keys()].toSorted((left, right) => left - right);
    let at = offset;
    for (const index of indexes) {
      const start = Math.max(offset, index * PAGE);
      const stop = Math.min(end, index * PAGE + PAGE);
      if (stop <= start) continue;
      if (start > at) yield { offset: at, length: start - at, isHole: true };
      yield { offset: start, length: stop - start, isHole: false };
      at = stop;
    }
    if (end > at) yield { offset: at, length: end - at, isHole: true };
  }

  #put(index: number, page: Buffer | undefined): void {
    this.#allocated += roomOf(page) - roomOf(this.#pages.get(index));
    if (page === undefined) this.#pages.delete(index);
    else this.#pages.set(index, page);
  }
}

function roomOf(page: Buffer | undefined): number {
  return page === undefined ? 0 : Math.ceil(page.byteLength / BLOCK) * BLOCK;
}

/** A page with a part written over; one of zeros alone is not kept twice. */
function merged(page: Buffer | undefined, within: number, part: Uint8Array): Buffer {
  const length = Math.max(page?.byteLength ?? 0, within + part.byteLength);
  const result = Buffer.alloc(length);
  page?.copy(result);
  result.set(part, within);
  return result[0] === 0 && result.equals(ZERO_PAGE.subarray(0, length)) ? ZERO_PAGE.subarray(0, length) : result;
}
