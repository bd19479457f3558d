// A domain's definition as it is kept: as text, with the few facts that were read from it.
import { format } from "#xml/element.ts";
import { parse } from "#xml/parse.ts";
import { readFacts } from "./facts.ts";
import type { Element } from "#xml/element.ts";
import type { DomainFacts } from "./facts.ts";
import type { LiveFacts } from "./live.ts";

export interface DomainDocument {
  /** Formatted as libvirt does. */
  text(): string;
  /** A tree of the caller's own. */
  root(): Element;
  facts(): DomainFacts;
  /** The running guest's text, where it can be had without a tree. */
  liveText?(live: LiveFacts): string;
}

export class TextDocument implements DomainDocument {
  readonly #text: string;
  #facts: DomainFacts | undefined;

  constructor(root: Element) {
    // Through bytes: a text that was put together from many parts would keep them all.
    this.#text = Buffer.from(format(root)).toString();
  }

  text(): string {
    return this.#text;
  }

  root(): Element {
    return parse(this.#text);
  }

  facts(): DomainFacts {
    this.#facts ??= readFacts(this.root());
    return this.#facts;
  }
}
