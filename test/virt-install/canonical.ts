/**
 * A domain document as what it means, so that two can be compared. This is the one place that says which differences
 * between Innkeeper's and Debian's virt-install mean nothing, or are meant:
 *
 * 1. Identity that is made up: a random UUID, random MAC addresses.
 * 2. Innkeeper's own element in <metadata>.
 * 3. The name of a new disk's file, where the command line gives none: Innkeeper's has the VM's id in it.
 * 4. How numbers are written: KiB without a unit, MiB with one; addresses in hexadecimal.
 * 5. `pc` and `q35` are the newest machine of their family.
 * 6. The order of elements that libvirt does not read in order.
 * 7. <driver name='qemu' type='raw'> of an empty drive, which libvirt adds itself.
 * 8. <source mode='bind'> and hosts' image compression: said by libvirt itself, or of virt-install's own machine.
 */
import { childElements, type Element, parseXml } from "@innkeeper/server/libvirt/xml.ts";

export interface Known {
  /** Of the command line: they are kept. */
  readonly words: readonly string[];
  /** Files that are there before. */
  readonly files: readonly string[];
}

/** Elements whose order libvirt reads. */
const ordered = new Set(["boot", "interface", "cell", "listen"]);
const innkeeper = "https://innkeeper.dev/xmlns/domain/1.0";

export function canonical(xml: string, known: Known): string {
  return print(parseXml(xml), "", known).join("\n");
}

function print(element: Element, indent: string, known: Known): string[] {
  const text = childElements(element).length === 0 ? (element.textContent ?? "").trim() : "";
  const attributes = Array.from(element.attributes)
    .filter(({ name }) => !name.startsWith("xmlns"))
    .map(({ name, value }): [string, string] => [name, attributeValue(element, name, value, known)])
    .filter(([name, value]) => !isDefault(element, name, value))
    .map(([name, value]) => ` ${name}=${value}`)
    .toSorted();
  const children = childElements(element)
    .filter((child) => !isLeftOut(child))
    .map((child) => print(child, `${indent}  `, known));
  const inOrder = children.filter((lines) => ordered.has(nameOf(lines)));
  const sorted = children
    .filter((lines) => !ordered.has(nameOf(lines)))
    .toSorted((a, b) => (a.join() < b.join() ? -1 : 1));
  const shown = textValue(element, text, known);
  return [
    `${indent}${element.tagName}${attributes.join("")}${shown === "" ? "" : `: ${shown}`}`,
    ...sorted.flat(),
    ...inOrder.flat(),
  ];
}

function nameOf(lines: readonly string[]): string {
  return /^\s*([\w:-]+)/.exec(lines[0] ?? "")?.[1] ?? "";
}

function isLeftOut(element: Element): boolean {
  if (element.namespaceURI === innkeeper) return true;
  const parent = element.parentNode as Element;
  if (element.tagName === "metadata") return childElements(element).every(isLeftOut);
  if (element.tagName === "source" && element.attributes.length === 0 && childElements(element).length === 0)
    return true;
  if (element.tagName === "source" && element.getAttribute("mode") === "bind")
    return parent.getAttribute("type") === "unix";
  if (element.tagName === "image") return element.getAttribute("compression") === "off";
  if (element.tagName !== "driver" || parent.tagName !== "disk") return false;
  const isEmpty = !childElements(parent, "source").some((source) => source.attributes.length > 0);
  return isEmpty && Array.from(element.attributes).every(({ name }) => name === "name" || name === "type");
}

function isDefault(element: Element, name: string, value: string): boolean {
  return (
    name === "unit" &&
    ["KiB", "MiB"].includes(value) &&
    ["memory", "currentMemory", "maxMemory"].includes(element.tagName)
  );
}

function attributeValue(element: Element, name: string, value: string, known: Known): string {
  if (element.tagName === "mac" && name === "address") {
    return known.words.some((word) => word.includes(value)) ? value : "RANDOM";
  }
  if (name === "machine") return value.replace(/^pc-i440fx-7\.2$/, "pc").replace(/^pc-q35-7\.2$/, "q35");
  if (element.tagName === "address" && /^0x[0-9a-f]+$/i.test(value)) return String(Number(value));
  return name === "file" || name === "dev" ? fileName(value, known) : value;
}

/** Of a file that the command line makes without naming it, only the folder is known. */
function fileName(file: string, known: Known): string {
  if (!file.startsWith("/") || known.files.includes(file) || known.words.some((word) => word.includes(file)))
    return file;
  return file.replace(/[^/]+$/, "NEW");
}

function textValue(element: Element, text: string, known: Known): string {
  if (element.tagName === "uuid" && !known.words.some((word) => word.includes(text))) return "RANDOM";
  if (["memory", "currentMemory", "maxMemory"].includes(element.tagName) && element.getAttribute("unit") === "MiB") {
    return String(Number(text) * 1024);
  }
  return text;
}
