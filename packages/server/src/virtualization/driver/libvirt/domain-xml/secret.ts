/**
 * Passwords of consoles. XML that is shown or kept (a snapshot's configuration) is without them (libvirt shows them only
 * with VIR_DOMAIN_XML_SECURE); defined as it is, it would leave the console open to everyone.
 */
import type { Element } from "@xmldom/xmldom";
import { serializeXml } from "#libvirt/xml.ts";
import { attribute, child, children, setAttributes } from "./element.ts";

/** All that libvirt 9.0 keeps back (virDomainGraphicsAuthDefFormatAttr). */
const secretAttributes = ["passwd", "passwdValidTo"] as const;

/** Gives each console of `to` that has no password that of the console of the same type in `from`. */
export function copySecrets(from: Element, to: Element): void {
  const known = children(child(from, "devices"), "graphics");
  for (const graphics of children(child(to, "devices"), "graphics")) {
    if (attribute(graphics, "passwd") !== undefined) continue;
    const source = known.find((each) => attribute(each, "type") === attribute(graphics, "type"));
    if (source === undefined) continue;
    setAttributes(graphics, Object.fromEntries(secretAttributes.map((name) => [name, attribute(source, name)])));
  }
}

/** As libvirt shows it to everyone. */
export function withoutSecrets(root: Element): string {
  const copy = root.cloneNode(true) as Element;
  forgetSecrets(copy);
  return serializeXml(copy);
}

export function forgetSecrets(root: Element): void {
  for (const graphics of children(child(root, "devices"), "graphics")) {
    for (const name of secretAttributes) graphics.removeAttribute(name);
  }
}
