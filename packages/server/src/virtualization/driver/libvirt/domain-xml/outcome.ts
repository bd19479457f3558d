/**
 * Whether a definition that a host shows is what libvirt makes of one that it was given: the same, but for what libvirt
 * fills in (addresses, controllers, defaults of devices that are new), how it writes sizes, and in which order. For who
 * does not know whether what stands there is still his own. Invariant: in doubt it is not; what the definition of before
 * had already is in libvirt's own words, and must be the same to the letter.
 */
import type { Element } from "@xmldom/xmldom";
import { parseXml } from "#libvirt/xml.ts";
import { canonical } from "./canonical.ts";
import { child, remove, text } from "./element.ts";
import { removeMetadata } from "./metadata.ts";
import { scaledBytes } from "./scaled.ts";
import { forgetSecrets } from "./secret.ts";

export interface GivenDefinition {
  /** What the host was given. */
  readonly meant: string;
  /** What it had before. */
  readonly before: string;
}

/** Of the definition of before: all its elements' words, and which kinds of elements stood in which. */
interface Known {
  readonly words: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
}

/** Parts of which some may come without the whole being another's. */
const containers: readonly string[] = ["domain", "devices"];
/** What libvirt adds to a new console or serial port (libvirt 9.0 virDomainDefPostParse, qemuDomainDefAddDefaultDevices). */
const companions: Readonly<Record<string, readonly string[]>> = {
  graphics: ["input", "audio", "video"],
  serial: ["console"],
};
const filledIntoDevices: readonly string[] = "address alias target model driver listen mac".split(" ");
const filledAttributes: readonly string[] = "placement check migratable fallback match unit id".split(" ");

export function isOutcome(shown: string, { meant, before }: GivenDefinition): boolean {
  const old = withoutOwn(before);
  const known = { words: new Set(wordsOf(old)), kinds: new Set(kindsOf(old)) };
  return isFilled(withoutOwn(shown), withoutOwn(meant), known, false);
}

/** Without what is no part of it: Innkeeper's own facts, and what libvirt shows to few. */
function withoutOwn(xml: string): Element {
  const root = parseXml(xml);
  removeMetadata(root);
  forgetSecrets(root);
  const metadata = child(root, "metadata");
  if (elementsIn(metadata).length === 0) remove(metadata);
  return root;
}

function wordsOf(element: Element): string[] {
  return [canonical(element), ...elementsIn(element).flatMap(wordsOf)];
}

function kindsOf(element: Element): string[] {
  return elementsIn(element).flatMap((each) => [`${element.nodeName}/${each.nodeName}`, ...kindsOf(each)]);
}

function isFilled(shown: Element, given: Element, known: Known, inDevice: boolean): boolean {
  const words = canonical(given);
  if (words === canonical(shown)) return true;
  if (given.nodeName !== shown.nodeName) return false;
  if (known.words.has(words) && !containers.includes(given.nodeName)) return false;
  return hasAttributes(shown, given, inDevice) && hasContent(shown, given, known, inDevice);
}

function hasAttributes(shown: Element, given: Element, inDevice: boolean): boolean {
  // A size's unit is compared with its number.
  const isFree = (name: string): boolean => name.startsWith("xmlns") || (name === "unit" && text(given) !== undefined);
  return (
    Array.from(given.attributes).every(({ name, value }) => isFree(name) || shown.getAttribute(name) === value) &&
    Array.from(shown.attributes).every(
      ({ name }) => isFree(name) || inDevice || given.hasAttribute(name) || filledAttributes.includes(name),
    )
  );
}

function hasContent(shown: Element, given: Element, known: Known, inDevice: boolean): boolean {
  const below = elementsIn(given);
  const rest = elementsIn(shown);
  if (below.length === 0 && rest.length === 0) return hasText(shown, given);
  const isDeviceBelow = inDevice || given.nodeName === "devices";
  for (const each of below) {
    const words = canonical(each);
    const same = rest.findIndex((other) => canonical(other) === words);
    const index = same === -1 ? rest.findIndex((other) => isFilled(other, each, known, isDeviceBelow)) : same;
    if (index === -1) return false;
    rest.splice(index, 1);
  }
  if (inDevice) return rest.every(({ nodeName }) => filledIntoDevices.includes(nodeName));
  return rest.every(({ nodeName }) => mayBeFilled(nodeName, given, below, known));
}

/** What the client left out comes again; what is new brings what it needs. */
function mayBeFilled(name: string, given: Element, below: readonly Element[], known: Known): boolean {
  const hadBefore = (kind: string): boolean => known.kinds.has(`${given.nodeName}/${kind}`);
  if (name === "controller") return below.some((each) => !known.words.has(canonical(each)));
  if (below.some((each) => each.nodeName === name)) return false;
  return (
    hadBefore(name) ||
    below.some(({ nodeName }) => companions[nodeName]?.includes(name) === true && !hadBefore(nodeName))
  );
}

function hasText(shown: Element, given: Element): boolean {
  if (text(given) === text(shown)) return true;
  // A generation id that was given empty is made by libvirt.
  if (given.nodeName === "genid" && text(given) === undefined) return true;
  const bytes = scaledBytes(text(given), given.getAttribute("unit") ?? undefined);
  return bytes !== undefined && bytes === scaledBytes(text(shown), shown.getAttribute("unit") ?? undefined);
}

/** Of any namespace. */
function elementsIn(element: Element | undefined): Element[] {
  if (element === undefined) return [];
  return Array.from(element.childNodes).filter((node): node is Element => node.nodeType === node.ELEMENT_NODE);
}
