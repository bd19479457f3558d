// Reads XML text into elements: no document types, no entities but the five of XML and numbers. Comments and processing
// instructions are dropped, as libvirt drops them.
import type { Element } from "./element.ts";

export class XmlSyntaxError extends Error {
  override readonly name = "XmlSyntaxError";
}

const DEPTH_MAX = 256;
const TOKEN =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[([\s\S]*?)\]\]>|<\/([^\s>]+)\s*>|<([^\s/>!?]+)((?:[^>"']|"[^"]*"|'[^']*')*?)(\/?)>|([^<]+)|([\s\S])/gu;
const ATTRIBUTE = /\s*([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')|\s*(\S)/gu;

export function parse(text: string): Element {
  const top: Element = { name: "", attributes: new Map(), children: [] };
  const open = [top];
  for (const [whole, cdata, closed, opened, attributes = "", slash, plain, stray] of text.matchAll(TOKEN)) {
    const current = open.at(-1) ?? top;
    if (opened !== undefined) {
      const child: Element = { name: opened, attributes: readAttributes(attributes), children: [] };
      current.children.push(child);
      if (slash === "") open.push(child);
      if (open.length > DEPTH_MAX) throw new XmlSyntaxError("Excessive depth in document");
    } else if (closed !== undefined) {
      if (open.length < 2 || current.name !== closed)
        throw new XmlSyntaxError(`Opening and ending tag mismatch: ${current.name} and ${closed}`);
      open.pop();
      trim(current);
    } else if (plain !== undefined) {
      if (open.length > 1) addText(current, decodeText(plain));
      else if (plain.trim() !== "") throw new XmlSyntaxError("Start tag expected, '<' not found");
    } else if (cdata !== undefined) addText(current, cdata);
    else if (stray !== undefined) throw new XmlSyntaxError(`StartTag: invalid element name near ${whole}`);
  }
  const [root, ...more] = top.children;
  if (open.length > 1) throw new XmlSyntaxError(`Premature end of data in tag ${open.at(-1)?.name ?? ""}`);
  if (root === undefined || typeof root === "string") throw new XmlSyntaxError("Start tag expected, '<' not found");
  if (more.length > 0) throw new XmlSyntaxError("Extra content at the end of the document");
  return root;
}

function addText(parent: Element, text: string): void {
  const last = parent.children.at(-1);
  if (typeof last === "string") parent.children[parent.children.length - 1] = last + text;
  else parent.children.push(text);
}

/** Text beside elements is indentation when it is blank. */
function trim(closed: Element): void {
  if (!closed.children.some((child) => typeof child !== "string")) return;
  const kept = closed.children.filter((child) => typeof child !== "string" || child.trim() !== "");
  closed.children.splice(0, closed.children.length, ...kept);
}

function readAttributes(text: string): Map<string, string> {
  const attributes = new Map<string, string>();
  if (text === "") return attributes;
  for (const [, name, double, single, stray] of text.matchAll(ATTRIBUTE)) {
    if (stray !== undefined || name === undefined) throw new XmlSyntaxError("attributes construct error");
    if (attributes.has(name)) throw new XmlSyntaxError(`Attribute ${name} redefined`);
    attributes.set(name, decodeText(double ?? single ?? ""));
  }
  return attributes;
}

const NAMED: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", apos: "'", quot: '"' };

function decodeText(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]+));|&/giu, (whole, hex, decimal, name) => {
    if (typeof name === "string" && NAMED[name] !== undefined) return NAMED[name];
    const code = typeof hex === "string" ? Number.parseInt(hex, 16) : Number(decimal ?? Number.NaN);
    if (Number.isInteger(code) && code > 0 && code <= 0x10ffff) return String.fromCodePoint(code);
    throw new XmlSyntaxError(`Entity '${whole}' not defined`);
  });
}
