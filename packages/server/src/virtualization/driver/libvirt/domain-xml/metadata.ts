/**
 * Innkeeper's own facts inside a domain's <metadata>, under a namespace of our own (libvirt 9.0 docs/formatdomain.rst
 * "General metadata": one top-level element per application). Other applications' elements are never touched.
 *
 *   <innkeeper:vm xmlns:innkeeper="https://innkeeper.dev/xmlns/domain/1.0" version="1" id="vm-…" created="…" template="no" folder="Production/Web">
 *     <innkeeper:tag>production</innkeeper:tag>
 *     <innkeeper:resource memoryShares="2048" memoryReservationMiB="512"/>
 *     <innkeeper:snapshots current="snap-…"><innkeeper:snapshot>{JSON}</innkeeper:snapshot></innkeeper:snapshots>
 *   </innkeeper:vm>
 *
 * `task` stands there until the metadata is written again: the task that wrote the definition. The description is the domain's own <description>, where virsh shows and changes it. A reader of version 1 ignores
 * what it does not know; a change of meaning gets a new namespace.
 */
import type { Element } from "@xmldom/xmldom";
import { checkFolder } from "@innkeeper/contract/folder.ts";
import type { ReadElement } from "#libvirt/read-xml.ts";
import { AppError } from "#core/app-error.ts";
import type { GuestMetadata } from "#virtualization/port.ts";
import {
  append,
  attribute,
  child,
  create,
  documentOf,
  ensure,
  remove,
  replace,
  removeIfEmpty,
  setText,
  wholeNumber,
} from "./element.ts";
import { childElements, serializeXml } from "#libvirt/xml.ts";

export const metadataNamespace = "https://innkeeper.dev/xmlns/domain/1.0";
/** The prefix is also libvirt's `key` of domainSetMetadata. */
export const metadataPrefix = "innkeeper";
const version = "1";

interface Resource {
  readonly shares?: number;
  readonly reservationMiB?: number;
}

export function readMetadata(root: ReadElement): GuestMetadata | undefined {
  const own = ownElement(root);
  const vmId = attribute(own, "id");
  if (own === undefined || vmId === undefined) return undefined;
  const snapshots = ownChildren(own, "snapshots")[0];
  const taskId = attribute(own, "task");
  return {
    vmId,
    description: child(root, "description")?.textContent ?? "",
    tags: ownChildren(own, "tag").map((tag) => tag.textContent ?? ""),
    folder: folderOf(attribute(own, "folder")),
    template: attribute(own, "template") === "yes",
    createdAt: attribute(own, "created") ?? "",
    snapshots: ownChildren(snapshots, "snapshot").flatMap((element) => parseJson(element.textContent ?? "")),
    currentSnapshotId: attribute(snapshots, "current") ?? null,
    ...(taskId !== undefined && { taskId }),
  };
}

/** Writes description and metadata; the resources of our element that the metadata does not hold stay. */
export function editMetadata(root: Element, metadata: GuestMetadata): void {
  checkText(metadata.description, "description");
  const present = child(root, "description");
  if ((present?.textContent ?? "") !== metadata.description) {
    setText(root, "description", metadata.description === "" ? undefined : metadata.description);
  }
  const own = metadataElement(root, metadata, readResource(root));
  const old = ownElement(root);
  if (old) replace(old, own);
  else append(ensure(root, "metadata"), own);
}

/**
 * Our element alone, as domainSetMetadata takes it: without a namespace, which libvirt puts on every element itself and
 * stumbles over if it is there (libvirt 9.0 virXMLInjectNamespace).
 */
export function metadataXml(root: Element): string | undefined {
  const own = ownElement(root);
  return own && serializeXml(withoutNamespace(own));
}

function withoutNamespace(element: Element): Element {
  const copy = create(element, element.localName ?? element.tagName);
  for (const { name, value } of Array.from(element.attributes)) {
    if (!/^xmlns(:|$)/.test(name)) copy.setAttribute(name, value);
  }
  for (let node = element.firstChild; node !== null; node = node.nextSibling) {
    copy.appendChild(node.nodeType === node.ELEMENT_NODE ? withoutNamespace(node as Element) : node.cloneNode(true));
  }
  return copy;
}

/** Our element of `to` becomes that of `from`, whatever it was. */
export function copyMetadata(from: Element, to: Element): void {
  for (let own = ownElement(to); own !== undefined; own = ownElement(to)) remove(own);
  const kept = ownElement(from);
  if (kept) append(ensure(to, "metadata"), documentOf(to).importNode(kept, true));
  removeIfEmpty(child(to, "metadata"));
}

export function removeMetadata(root: Element): void {
  remove(ownElement(root));
  removeIfEmpty(child(root, "metadata"));
}

export function readResource(root: ReadElement): Resource {
  const resource = ownChildren(ownElement(root), "resource")[0];
  const shares = wholeNumber(attribute(resource, "memoryShares"));
  const reservationMiB = wholeNumber(attribute(resource, "memoryReservationMiB"));
  return { ...(shares !== undefined && { shares }), ...(reservationMiB !== undefined && { reservationMiB }) };
}

export function editResource(root: Element, change: Resource): void {
  const own = ownElement(root) ?? append(ensure(root, "metadata"), ownCreate(root, "vm"));
  const old = ownChildren(own, "resource")[0];
  const next = resourceElement(root, { ...readResource(root), ...change });
  if (old) replace(old, next);
  else append(own, next);
}

function metadataElement(root: Element, metadata: GuestMetadata, resource: Resource): Element {
  const own = ownCreate(root, "vm");
  own.setAttribute("version", version);
  own.setAttribute("id", metadata.vmId);
  own.setAttribute("created", metadata.createdAt);
  if (metadata.folder !== "") own.setAttribute("folder", metadata.folder);
  own.setAttribute("template", metadata.template ? "yes" : "no");
  if (metadata.taskId !== undefined) own.setAttribute("task", metadata.taskId);
  for (const tag of metadata.tags) {
    checkText(tag, "tags");
    append(own, ownCreate(root, "tag", tag));
  }
  if (Object.keys(resource).length > 0) append(own, resourceElement(root, resource));
  if (metadata.snapshots.length > 0 || metadata.currentSnapshotId !== null) {
    const snapshots = ownCreate(root, "snapshots");
    if (metadata.currentSnapshotId !== null) snapshots.setAttribute("current", metadata.currentSnapshotId);
    for (const snapshot of metadata.snapshots) append(snapshots, ownCreate(root, "snapshot", xmlSafeJson(snapshot)));
    append(own, snapshots);
  }
  return own;
}

function resourceElement(root: Element, resource: Resource): Element {
  const element = ownCreate(root, "resource");
  if (resource.shares !== undefined) element.setAttribute("memoryShares", String(resource.shares));
  if (resource.reservationMiB !== undefined) {
    element.setAttribute("memoryReservationMiB", String(resource.reservationMiB));
  }
  return element;
}

function ownCreate(near: Element, name: string, content?: string): Element {
  const document = documentOf(near);
  const element = document.createElementNS(metadataNamespace, `${metadataPrefix}:${name}`);
  if (content !== undefined) element.appendChild(document.createTextNode(content));
  return element;
}

function ownElement<E extends ReadElement>(root: E): E | undefined {
  return ownChildren(child(root, "metadata"), "vm")[0];
}

function ownChildren<E extends ReadElement>(parent: E | undefined, name: string): E[] {
  if (parent === undefined) return [];
  return childElements(parent).filter(
    ({ namespaceURI, localName }) => namespaceURI === metadataNamespace && localName === name,
  );
}

/** One that others have written is as good as none if it could not be asked for. */
function folderOf(text: string | undefined): string {
  return text === undefined || checkFolder(text) !== undefined ? "" : text;
}

/** What XML 1.0 §2.2 has no way to hold: most control characters, lone surrogates, two non-characters. */
const notXml = /[\p{Cc}\p{Cs}\ufffe\uffff]/u;

function checkText(value: string, field: string): void {
  if (notXml.test(value.replace(/[\t\n\r]/g, "")))
    throw new AppError("invalid_field", `${field} has control characters.`, { field });
}

/** JSON whose every character XML can hold: JSON.stringify escapes control characters and lone surrogates itself. */
function xmlSafeJson(value: unknown): string {
  return JSON.stringify(value).replaceAll("\ufffe", "\\ufffe").replaceAll("\uffff", "\\uffff");
}

function parseJson(source: string): unknown[] {
  try {
    return [JSON.parse(source) as unknown];
  } catch {
    return [];
  }
}
