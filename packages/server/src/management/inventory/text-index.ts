/**
 * Which of many resources have a text in them. What is searched of each lies in one string, end to end, which is gone
 * through as fast as memory is read: strings all over the heap take twenty times as long. What has another text since that
 * string was made is told along, to be looked at, until there are many of it.
 */

/** Stands between two texts. */
const separator = "\0";
/** Of all, may have another text before the string is made anew. */
const changedShare = 1 / 20;

export class TextIndex {
  readonly #textOf: (resource: object) => string;
  readonly #text: string;
  /** Where the text of each ends, with its separator, in the order of `#positions`. */
  readonly #ends: number[] = [];
  readonly #ids: string[] = [];
  readonly #positions = new Map<string, number>();
  readonly #changed = new Set<string>();

  constructor(resources: Iterable<{ readonly id: string }>, textOf: (resource: object) => string) {
    this.#textOf = textOf;
    const texts: string[] = [];
    let end = 0;
    for (const resource of resources) {
      const text = textOf(resource) + separator;
      end += text.length;
      texts.push(text);
      this.#positions.set(resource.id, this.#ids.length);
      this.#ids.push(resource.id);
      this.#ends.push(end);
    }
    this.#text = texts.join("");
  }

  /** A resource was put, or, when it is undefined, deleted. */
  note(id: string, resource: object | undefined): void {
    if (resource !== undefined && this.#known(id) === this.#textOf(resource)) this.#changed.delete(id);
    else this.#changed.add(id);
  }

  get isStale(): boolean {
    return this.#changed.size > this.#ids.length * changedShare;
  }

  /** Ids of those that have it, and of those whose text has changed. */
  find(part: string): Set<string> {
    const found = new Set(this.#changed);
    let position = 0;
    for (let at = this.#text.indexOf(part); at >= 0; at = this.#text.indexOf(part, this.#ends[position])) {
      while ((this.#ends[position] ?? Number.POSITIVE_INFINITY) <= at) position++;
      const id = this.#ids[position];
      if (id === undefined) break;
      found.add(id);
    }
    return found;
  }

  #known(id: string): string | undefined {
    const position = this.#positions.get(id);
    if (position === undefined) return undefined;
    const end = this.#ends[position] ?? 0;
    return this.#text.slice(this.#ends[position - 1] ?? 0, end - separator.length);
  }
}
