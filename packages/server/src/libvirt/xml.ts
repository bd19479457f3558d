/**
 * libvirt's XML documents: parsed without document types (hence without entities of their own), read by small typed
 * readers, built without text concatenation, written back as they were but for what was edited.
 * Paths are element names joined by `/`, relative to the given element: `os/type`, `devices/disk`.
 */
import { bytesPerUnit } from "@innkeeper/contract/unit.ts";
import { DOMParser, type Document, type Element, type Node, XMLSerializer } from "@xmldom/xmldom";
import { AppError } from "#core/app-error.ts";

export type { Document, Element, Node };

/** REMOTE_STRING_MAX (libvirt 9.0 remote_protocol.x): no document of libvirt's is longer. */
const maxCharacters = 4_194_304;
const elementNode = 1; // DOM Node.ELEMENT_NODE

/** The document's root element. host_failed when it is not well-formed, or has a document type. */
export function parseXml(text: string): Element {
  if (text.length > maxCharacters) throw badXml(`it has ${text.length} characters`);
  if (/<!(?:DOCTYPE|ENTITY)/i.test(text)) throw badXml("it has a document type, which is refused");
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
export function elements(element: Element, path: string): Element[] {
  let found: Element[] = [element];
  for (const name of path.split("/")) found = found.flatMap((parent) => childElements(parent, name));
  return found;
}

/** The first element at a path. */
export function element(parent: Element, path: string): Element | undefined {
  return elements(parent, path)[0];
}

/** Child elements, all or those of one name (the name without prefix for elements of foreign namespaces: with it). */
export function childElements(parent: Element, name?: string): Element[] {
  const found: Element[] = [];
  for (let node = parent.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === elementNode && (name === undefined || node.nodeName === name)) found.push(node as Element);
  }
  return found;
}

/** Text of the first element at a path, without surrounding white space; undefined when there is no such element. */
export function text(parent: Element, path: string): string | undefined {
  return element(parent, path)?.textContent?.trim();
}

/** Attribute of the first element at a path (`.`: the element itself). */
export function attribute(parent: Element, path: string, name: string): string | undefined {
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
export function sizeBytes(parent: Element, path: string, defaultUnit: string): number | undefined {
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

function badXml(reason: string, cause?: unknown): AppError {
  return new AppError("host_failed", `The host sent XML that can't be read: ${reason}.`, { cause });
}
