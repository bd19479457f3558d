/** Documents as text that is the same for the same meaning: attributes sorted, white space between elements left out. */
import type { Element } from "@xmldom/xmldom";
import { parseXml } from "#libvirt/xml.ts";

export function canonicalXml(xml: string): string {
  return canonical(parseXml(xml));
}

export function canonical(element: Element): string {
  const attributes = Array.from(element.attributes, (each) => `${each.name}=${JSON.stringify(each.value)}`).sort();
  const content: string[] = [];
  for (let node = element.firstChild; node !== null; node = node.nextSibling) {
    if (node.nodeType === node.ELEMENT_NODE) content.push(canonical(node as Element));
    else if (node.nodeType === node.TEXT_NODE || node.nodeType === node.CDATA_SECTION_NODE) {
      if ((node.nodeValue ?? "").trim() !== "") content.push(JSON.stringify(node.nodeValue?.trim()));
    }
  }
  return `<${element.nodeName} ${attributes.join(" ")}>${content.join("")}</>`;
}
