/**
 * XML that is only read, as a light tree: a domain's document takes a quarter of what a DOM takes, and every look at a
 * guest reads one or two. Readers take a ReadElement, so they read a document that is being edited (xml.ts) as well.
 * Text, elements, attributes and namespaces are kept; comments and processing instructions are not.
 */
import { SaxesParser } from "saxes";
import { AppError } from "#core/app-error.ts";

export interface ReadNode {
  readonly nodeType: number;
  readonly nodeName: string;
  readonly parentNode: ReadNode | null;
  readonly nextSibling: ReadNode | null;
  readonly textContent: string | null;
}

export interface ReadElement extends ReadNode {
  readonly tagName: string;
  readonly localName: string | null;
  readonly namespaceURI: string | null;
  readonly firstChild: ReadNode | null;
  getAttribute(name: string): string | null;
}

/** DOM Node.ELEMENT_NODE and TEXT_NODE. */
export const elementNode = 1;
const textNode = 3;

/** REMOTE_STRING_MAX (libvirt 9.0 remote_protocol.x): no document of libvirt's is longer. */
const maxCharacters = 4_194_304;

/** The document's root element. host_failed when it is not well-formed, or has a document type. */
export function readXml(source: string): ReadElement {
  checkSource(source);
  let root: LightElement | undefined;
  let open: LightElement | undefined;
  const parser = new SaxesParser({ xmlns: true, position: false });
  parser.on("opentag", ({ name, local, uri, attributes }) => {
    const element = new LightElement(open ?? null, name, local, uri, attributes);
    open?.append(element);
    root ??= element;
    open = element;
  });
  parser.on("closetag", () => (open = open?.parentNode ?? undefined));
  const onText = (text: string): void => open?.append(new LightText(open, text));
  parser.on("text", onText);
  parser.on("cdata", onText);
  parser.on("error", (error) => {
    throw badXml(error.message, error);
  });
  parser.write(source).close();
  if (root === undefined) throw badXml("it has no element");
  return root;
}

/** What no document may be, however it is parsed. */
export function checkSource(source: string): void {
  if (source.length > maxCharacters) throw badXml(`it has ${source.length} characters`);
  if (/<!(?:DOCTYPE|ENTITY)/i.test(source)) throw badXml("it has a document type, which is refused");
}

export function badXml(reason: string, cause?: unknown): AppError {
  return new AppError("host_failed", `The host sent XML that can't be read: ${reason}.`, { cause });
}

class LightText implements ReadNode {
  readonly nodeType = textNode;
  readonly nodeName = "#text";
  readonly parentNode: LightElement;
  nextSibling: LightNode | null = null;
  readonly textContent: string;

  constructor(parent: LightElement, content: string) {
    this.parentNode = parent;
    this.textContent = content;
  }
}

type Attributes = Readonly<Record<string, { readonly value: string }>>;

class LightElement implements ReadElement {
  readonly nodeType = elementNode;
  readonly parentNode: LightElement | null;
  readonly tagName: string;
  readonly localName: string;
  readonly namespaceURI: string | null;
  nextSibling: LightNode | null = null;
  firstChild: LightNode | null = null;
  #lastChild: LightNode | null = null;
  readonly #attributes: Attributes;

  constructor(parent: LightElement | null, name: string, local: string, uri: string, attributes: Attributes) {
    this.parentNode = parent;
    this.tagName = name;
    this.localName = local;
    this.namespaceURI = uri === "" ? null : uri;
    this.#attributes = attributes;
  }

  get nodeName(): string {
    return this.tagName;
  }

  get textContent(): string {
    let text = "";
    for (let node = this.firstChild; node !== null; node = node.nextSibling) text += node.textContent;
    return text;
  }

  getAttribute(name: string): string | null {
    return this.#attributes[name]?.value ?? null;
  }

  append(node: LightNode): void {
    if (this.#lastChild === null) this.firstChild = node;
    else this.#lastChild.nextSibling = node;
    this.#lastChild = node;
  }
}

type LightNode = LightElement | LightText;
