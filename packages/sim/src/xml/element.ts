// XML as libvirt reads and writes it: a small tree, text that is indentation is not kept, two spaces a level, single
// quotes. Nothing is kept parsed for long: a document lives as text, and as a tree only while it is worked on.

export interface Element {
  readonly name: string;
  readonly attributes: Map<string, string>;
  readonly children: Node[];
}

export type Node = Element | string;

/** undefined leaves the attribute out. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number | undefined>> = {},
  children: readonly (Node | undefined)[] = [],
): Element {
  const entries = Object.entries(attributes).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return { name, attributes: new Map(entries), children: children.filter((child) => child !== undefined) };
}

/** <name>text</name> */
export function leaf(
  name: string,
  text: string | number | bigint,
  attributes: Readonly<Record<string, string>> = {},
): Element {
  return element(name, attributes, [String(text)]);
}

export function isElement(node: Node): node is Element {
  return typeof node !== "string";
}

export function elements(parent: Element | undefined, name?: string): Element[] {
  return (parent?.children ?? []).filter(isElement).filter((child) => name === undefined || child.name === name);
}

/** The first element on a path of names: find(domain, "os", "type"). */
export function find(parent: Element | undefined, ...path: readonly string[]): Element | undefined {
  let at = parent;
  for (const name of path) at = at?.children.find((child): child is Element => isElement(child) && child.name === name);
  return at;
}

export function textOf(parent: Element | undefined, ...path: readonly string[]): string | undefined {
  const found = find(parent, ...path);
  return found === undefined ? undefined : found.children.filter((child) => !isElement(child)).join("");
}

/** The attribute at the end of a path: attributeOf(disk, "source", "file"). */
export function attributeOf(parent: Element | undefined, ...path: readonly string[]): string | undefined {
  return find(parent, ...path.slice(0, -1))?.attributes.get(path.at(-1) ?? "");
}

/** Sets, replaces or (undefined) removes the child of the replacement's name. New ones stand last. */
export function replaceChild(parent: Element, name: string, replacement: Element | undefined): void {
  const at = parent.children.findIndex((child) => isElement(child) && child.name === name);
  if (at === -1) {
    if (replacement !== undefined) parent.children.push(replacement);
  } else if (replacement === undefined) parent.children.splice(at, 1);
  else parent.children[at] = replacement;
}

export function clone(from: Element): Element {
  return {
    name: from.name,
    attributes: new Map(from.attributes),
    children: from.children.map((child) => (isElement(child) ? clone(child) : child)),
  };
}

/** With the line breaks and the indentation that libvirt gives. */
/** @param quote around attributes: libxml2, where it writes by itself, has double ones. */
export function format(root: Element, depth = 0, quote: "'" | '"' = "'"): string {
  const indent = "  ".repeat(depth);
  const attributes = [...root.attributes].map(([key, value]) => ` ${key}=${quote}${escapeXml(value)}${quote}`).join("");
  if (root.children.length === 0) return `${indent}<${root.name}${attributes}/>\n`;
  if (!root.children.some(isElement))
    return `${indent}<${root.name}${attributes}>${escapeXml(root.children.join(""))}</${root.name}>\n`;
  const inner = root.children
    .map((child) =>
      isElement(child) ? format(child, depth + 1, quote) : `${"  ".repeat(depth + 1)}${escapeXml(child)}\n`,
    )
    .join("");
  return `${indent}<${root.name}${attributes}>\n${inner}${indent}</${root.name}>\n`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "<": "&lt;",
  ">": "&gt;",
  "&": "&amp;",
  "'": "&apos;",
  '"': "&quot;",
};

export function escapeXml(text: string): string {
  return text.replace(/[<>&'"]/gu, (character) => ENTITIES[character] ?? character);
}
