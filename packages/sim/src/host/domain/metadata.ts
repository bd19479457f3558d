// Title, description and other programs' elements in a domain's XML (virDomainObjSetMetadata, virDomainObjGetMetadata).
import {
  VIR_DOMAIN_METADATA_DESCRIPTION,
  VIR_DOMAIN_METADATA_ELEMENT,
  VIR_DOMAIN_METADATA_TITLE,
} from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_NO_DOMAIN_METADATA,
  VIR_FROM_DOMAIN,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { element, elements, find, format, isElement, leaf, replaceChild, textOf } from "#xml/element.ts";
import { parseAny } from "#xml/document.ts";
import { orderDomain } from "./order.ts";
import type { Element } from "#xml/element.ts";

export interface Metadata {
  readonly type: number;
  readonly metadata: string | null;
  readonly key: string | null;
  readonly uri: string | null;
}

export function setMetadata(root: Element, { type, metadata, key, uri }: Metadata): void {
  switch (type) {
    case VIR_DOMAIN_METADATA_DESCRIPTION:
    case VIR_DOMAIN_METADATA_TITLE: {
      const name = type === VIR_DOMAIN_METADATA_TITLE ? "title" : "description";
      const isEmpty = metadata === null || metadata === "";
      replaceChild(root, name, isEmpty ? undefined : leaf(name, metadata));
      break;
    }
    case VIR_DOMAIN_METADATA_ELEMENT: {
      const holder = find(root, "metadata") ?? element("metadata");
      const kept = elements(holder).filter((each) => namespaceOf(each) !== uri);
      if (metadata !== null) kept.push(wrapped(metadata, key ?? "", uri ?? ""));
      replaceChild(root, "metadata", kept.length === 0 ? undefined : element("metadata", {}, kept));
      break;
    }
    default:
      throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_DOMAIN, `unknown metadata type '${type}'`);
  }
  orderDomain(root);
}

/** Every element without a namespace gets this one, under the key as its prefix (virXMLInjectNamespace). */
function wrapped(text: string, key: string, uri: string): Element {
  const parsed = parseAny(text, "(metadata_xml)");
  const attributes = { [`xmlns:${key}`]: uri, ...Object.fromEntries(parsed.attributes) };
  const renamed = renamedAll(parsed, (name) => (name.includes(":") ? name : `${key}:${name}`));
  return element(renamed.name, attributes, renamed.children);
}

function renamedAll(from: Element, rename: (name: string) => string): Element {
  const children = from.children.map((child) => (isElement(child) ? renamedAll(child, rename) : child));
  return { name: rename(from.name), attributes: from.attributes, children };
}

function namespaceOf({ name, attributes }: Element): string | undefined {
  const colon = name.indexOf(":");
  return attributes.get(colon === -1 ? "xmlns" : `xmlns:${name.slice(0, colon)}`);
}

export function getMetadata(root: Element, type: number, uri: string | null): string {
  const found = read(root, type, uri);
  if (found !== undefined) return found;
  throw new SimError(VIR_ERR_NO_DOMAIN_METADATA, VIR_FROM_DOMAIN, "Requested metadata element is not present");
}

function read(root: Element, type: number, uri: string | null): string | undefined {
  if (type === VIR_DOMAIN_METADATA_DESCRIPTION) return textOf(root, "description");
  if (type === VIR_DOMAIN_METADATA_TITLE) return textOf(root, "title");
  if (type !== VIR_DOMAIN_METADATA_ELEMENT)
    throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_DOMAIN, `unknown metadata type '${type}'`);
  const found = elements(find(root, "metadata")).find((each) => namespaceOf(each) === uri);
  if (found === undefined) return undefined;
  const prefix = found.name.includes(":") ? found.name.slice(0, found.name.indexOf(":") + 1) : "";
  const attributes = Object.fromEntries([...found.attributes].filter(([name]) => !name.startsWith("xmlns")));
  const plain = renamedAll(found, (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : name));
  return format(element(plain.name, attributes, plain.children), 0, '"').trimEnd();
}
