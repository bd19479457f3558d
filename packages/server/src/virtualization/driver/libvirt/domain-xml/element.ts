/**
 * Reading and editing elements of a domain's XML. Every editor touches only what it is asked to: unknown attributes,
 * elements, comments and foreign namespaces stay. Readers are total: a missing element is an empty answer, never a throw.
 * Only elements without a namespace are libvirt's own (libvirt 9.0 docs/schemas/domain.rng).
 */
import type { Document, Element, Node } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import { childElements } from "#libvirt/xml.ts";

const indentUnit = "  ";

/** Child elements of libvirt's own vocabulary, of one name or of all. */
export function children<E extends ReadElement>(parent: E | undefined, name?: string): E[] {
  if (parent === undefined) return [];
  return childElements(parent, name).filter(({ namespaceURI }) => !namespaceURI);
}

/** The first child along a path such as `os/loader`. */
export function child<E extends ReadElement>(parent: E | undefined, path: string): E | undefined {
  let element = parent;
  for (const name of path.split("/")) element = children(element, name)[0];
  return element;
}

/** An attribute's value; undefined when absent or empty. */
export function attribute(element: ReadElement | undefined, name: string): string | undefined {
  return element?.getAttribute(name) || undefined;
}

/** The text of an element, trimmed; undefined when absent or empty. */
export function text(element: ReadElement | undefined): string | undefined {
  return element?.textContent?.trim() || undefined;
}

/** A whole, non-negative, exactly representable number. */
export function wholeNumber(value: string | undefined): number | undefined {
  if (value === undefined || !/^[0-9]+$/.test(value)) return undefined;
  const parsed = Number(value);
  return Number.isSafeInteger(parsed) ? parsed : undefined;
}

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** Sets attributes; undefined removes. */
export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, String(value));
  }
}

/** A new element, not yet in the document. */
export function create(near: Element, name: string, attributes: Attributes = {}, content?: string | number): Element {
  const document = documentOf(near);
  const element = document.createElement(name);
  setAttributes(element, attributes);
  if (content !== undefined) element.appendChild(document.createTextNode(String(content)));
  return element;
}

export function documentOf(element: Element): Document {
  const document = element.ownerDocument;
  if (document === null) throw new TypeError("an element outside of a document");
  return document;
}

/** Appends a child, keeping the document's indentation readable. Answers the child. */
export function append(parent: Element, element: Element): Element {
  const depth = depthOf(parent);
  const last = parent.lastChild;
  if (last !== null && isSpace(last)) parent.removeChild(last);
  parent.appendChild(space(parent, depth + 1));
  parent.appendChild(element);
  parent.appendChild(space(parent, depth));
  indent(element, depth + 1);
  return element;
}

/** Puts a new element into the place of another. */
export function replace(old: Element, element: Element): void {
  old.parentNode?.replaceChild(element, old);
  indent(element, depthOf(element));
}

/** Lays out the elements below one; text is never touched. */
function indent(element: Element, depth: number): void {
  const nodes = Array.from(element.childNodes);
  if (!nodes.some((node) => node.nodeType === node.ELEMENT_NODE)) return;
  if (nodes.some((node) => node.nodeType === node.TEXT_NODE && !isSpace(node))) return;
  for (const node of nodes) {
    if (isSpace(node)) element.removeChild(node);
    else element.insertBefore(space(element, depth + 1), node);
    if (node.nodeType === node.ELEMENT_NODE) indent(node as Element, depth + 1);
  }
  element.appendChild(space(element, depth));
}

function space(near: Element, depth: number): Node {
  return documentOf(near).createTextNode(`\n${indentUnit.repeat(depth)}`);
}

function isSpace(node: Node): boolean {
  return node.nodeType === node.TEXT_NODE && (node.nodeValue ?? "").trim() === "";
}

/** Makes a child with attributes and text and appends it. */
export function add(parent: Element, name: string, attributes: Attributes = {}, content?: string | number): Element {
  return append(parent, create(parent, name, attributes, content));
}

/** The child along a path, made (each part) if it is not there. */
export function ensure(parent: Element, path: string): Element {
  let element = parent;
  for (const name of path.split("/")) element = child(element, name) ?? add(element, name);
  return element;
}

/** Sets the text of the child along a path; undefined removes that child. */
export function setText(parent: Element, path: string, content: string | number | undefined): void {
  if (content === undefined) {
    remove(child(parent, path));
    return;
  }
  ensure(parent, path).textContent = String(content);
}

/** Takes an element out together with the white space before it; fine if it is absent. */
export function remove(element: Element | undefined): void {
  const parent = element?.parentNode;
  if (element === undefined || !parent) return;
  const before = element.previousSibling;
  if (before !== null && isSpace(before)) parent.removeChild(before);
  parent.removeChild(element);
}

/** Removes an element that has neither attributes nor child elements left. */
export function removeIfEmpty(element: Element | undefined): void {
  if (element === undefined || element.attributes.length > 0) return;
  for (let node = element.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === node.ELEMENT_NODE || (node.nodeValue ?? "").trim() !== "") return;
  }
  remove(element);
}

/** All elements of libvirt's vocabulary below `root`, in document order, with the name given. */
export function descendants<E extends ReadElement>(root: E, name: string): E[] {
  return childElements(root).flatMap((element) => {
    const isOne = !element.namespaceURI && element.tagName === name;
    return [...(isOne ? [element] : []), ...descendants(element, name)];
  });
}

function depthOf(element: Element): number {
  let depth = 0;
  for (let node = element.parentNode; node !== null && node.nodeType === node.ELEMENT_NODE; node = node.parentNode) {
    depth++;
  }
  return depth;
}
