/** A domain document as it is written: elements with attributes, children and text, and nothing else of XML. */

export class XmlElement {
  readonly name: string;
  readonly attributes = new Map<string, string>();
  readonly children: XmlElement[] = [];
  text: string | undefined;

  constructor(name: string, attributes: Readonly<Record<string, string | number>> = {}, text?: string) {
    this.name = name;
    this.text = text;
    this.set(attributes);
  }

  set(attributes: Readonly<Record<string, string | number>>): this {
    for (const [name, value] of Object.entries(attributes)) this.attributes.set(name, String(value));
    return this;
  }

  all(name: string): XmlElement[] {
    return this.children.filter((child) => child.name === name);
  }

  /** The first element along a path of names: `os/type`. */
  find(path: string): XmlElement | undefined {
    const [name, ...rest] = path.split("/");
    const child = this.children.find((each) => each.name === name);
    return rest.length === 0 ? child : child?.find(rest.join("/"));
  }

  add(name: string, attributes: Readonly<Record<string, string | number>> = {}, text?: string): XmlElement {
    const child = new XmlElement(name, attributes, text);
    this.children.push(child);
    return child;
  }

  /** The first element along a path of names, made where it is missing. */
  ensure(path: string): XmlElement {
    const [name = "", ...rest] = path.split("/");
    const child = this.children.find((each) => each.name === name) ?? this.add(name);
    return rest.length === 0 ? child : child.ensure(rest.join("/"));
  }

  remove(child: XmlElement): void {
    const index = this.children.indexOf(child);
    if (index >= 0) this.children.splice(index, 1);
  }

  copy(): XmlElement {
    const copy = new XmlElement(this.name, Object.fromEntries(this.attributes), this.text);
    copy.children.push(...this.children.map((child) => child.copy()));
    return copy;
  }

  toString(indent = ""): string {
    const attributes = Array.from(this.attributes, ([name, value]) => ` ${name}="${escape(value)}"`).join("");
    if (this.children.length === 0) {
      return this.text === undefined || this.text === ""
        ? `${indent}<${this.name}${attributes}/>\n`
        : `${indent}<${this.name}${attributes}>${escape(this.text)}</${this.name}>\n`;
    }
    const inner = this.children.map((child) => child.toString(`${indent}  `)).join("");
    return `${indent}<${this.name}${attributes}>\n${inner}${indent}</${this.name}>\n`;
  }
}

/** XML 1.0 §2.4; line breaks in attributes as references, or they would be read as spaces (§3.3.3). */
function escape(text: string): string {
  const references: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replaceAll(/[&<>"]|[\t\n\r]/g, (char) => references[char] ?? `&#${char.charCodeAt(0)};`);
}
