/**
 * libvirt's XML documents: parsed without document types (hence without entities of their own), read by small typed
 * readers, built without text concatenation, written back as they were but for what was edited.
 * Paths are element names joined by `/`, relative to the given element: `os/type`, `devices/disk`.
 */
import { bytesPerUnit } from "@innkeeper/contract/unit.ts";
import { DOMParser, type Document, type Element, type Node, XMLSerializer } from "@xmldom/xmldom";
import { AppError } from "#core/app-error.ts";
import { badXml, checkSource, elementNode, type ReadElement, type ReadNode } from "#libvirt/read-xml.ts";

export type { Document, Element, Node };

/** The root element of a document to edit; to read one, readXml is faster. host_failed when it is not well-formed, or has a document type. */
export function parseXml(text: string): Element {
  checkSource(text);
  let document: Document;
  try {
    document = new DOMParser({
      onError: (level, message) => {
        if (level !== "warning") throw new Error(String(message));
      },
    }).parseFromString(text, "text/xml");
  } catch (error) {
    throw badXml(error instanceof Error ? error.message : String(error), error);
  }
  const root = document.documentElement;
  if (root === null) throw badXml("it has no element");
  return root;
}

export function serializeXml(node: Node): string {
  return new XMLSerializer().serializeToString(node);
}

/** All elements at a path, in document order. */
export function elements<E extends ReadElement>(element: E, path: string): E[] {
  let found: E[] = [element];
  for (const name of path.split("/")) found = found.flatMap((parent) => childElements(parent, name));
  return found;
}

/** The first element at a path. */
export function element<E extends ReadElement>(parent: E, path: string): E | undefined {
  return elements(parent, path)[0];
}

/** Child elements, all or those of one name (the name without prefix for elements of foreign namespaces: with it). */
export function childElements<E extends ReadElement>(parent: E, name?: string): E[] {
  const found: E[] = [];
  for (let node: ReadNode | null = parent.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === elementNode && (name === undefined || node.nodeName === name)) found.push(node as E);
  }
  return found;
}

/** Text of the first element at a path, without surrounding white space; undefined when there is no such element. */
export function text(parent: ReadElement, path: string): string | undefined {
  return element(parent, path)?.textContent?.trim();
}

/** Attribute of the first element at a path (`.`: the element itself). */
export function attribute(parent: ReadElement, path: string, name: string): string | undefined {
  const owner = path === "." ? parent : element(parent, path);
  return owner?.getAttribute(name) ?? undefined;
}

/** A whole number from text; undefined when absent or not one. */
export function integer(value: string | undefined): number | undefined {
  if (value === undefined || !/^-?\d+$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** Bytes of an element such as `<memory unit='KiB'>1024</memory>` at a path. */
export function sizeBytes(parent: ReadElement, path: string, defaultUnit: string): number | undefined {
  const owner = element(parent, path);
  const value = owner === undefined ? undefined : integer(owner.textContent?.trim());
  if (owner === undefined || value === undefined) return undefined;
  const factor = bytesPerUnit[(owner.getAttribute("unit") ?? defaultUnit).toLowerCase()];
  return factor === undefined ? undefined : value * factor;
}

type XmlAttributes = Readonly<Record<string, string | number | undefined>>;
type XmlContent = XmlNode | string | undefined;

/** A piece of XML to be written; text and attributes are escaped when it is. */
interface XmlNode {
  readonly name: string;
  readonly attributes: XmlAttributes;
  readonly content: readonly XmlContent[];
}

/** `xml("volume", {}, xml("name", {}, name))`; attributes and content that are undefined are left out. */
export function xml(name: string, attributes: XmlAttributes = {}, ...content: readonly XmlContent[]): XmlNode {
  return { name, attributes, content };
}

export function formatXml(node: XmlNode): string {
  const attributes = Object.entries(node.attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}='${escapeXml(String(value))}'`)
    .join("");
  const content = node.content
    .filter((part) => part !== undefined)
    .map((part) => (typeof part === "string" ? escapeXml(part) : formatXml(part)))
    .join("");
  return content === "" ? `<${node.name}${attributes}/>` : `<${node.name}${attributes}>${content}</${node.name}>`;
}

/** XML 1.0 §2.2 forbids most control characters even as references: they are a caller's mistake, found here. */
export function escapeXml(value: string): string {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(value)) {
    throw new AppError("invalid_field", "A value has control characters, which XML can't hold.");
  }
  return value.replace(/[&<>"'\t\n\r]/g, (character) => `&#${character.codePointAt(0)};`);
}
