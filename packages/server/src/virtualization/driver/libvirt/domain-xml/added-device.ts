/**
 * A disk or NIC that is added: made from its description, or, where an undone change gives it back, as it was. The
 * contract does not tell all of a device (encryption, a NIC's filter and bandwidth), and without that it would be another.
 */
import type { Element } from "@xmldom/xmldom";
import type { VmDisk, VmNic } from "@innkeeper/contract/resource/vm-spec.ts";
import { parseXml } from "#libvirt/xml.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { diskByTarget, diskElement } from "./disk.ts";
import { child, documentOf, remove } from "./element.ts";
import { nicByMac, nicElement } from "./nic.ts";

type From = Pick<GuestChange, "devicesFrom">;

/** Not yet in the document. */
export function addedDisk(near: Element, disk: VmDisk, { devicesFrom }: From): Element {
  return former(near, devicesFrom, (root) => diskByTarget(root, disk.target)) ?? diskElement(near, disk);
}

/** Not yet in the document. */
export function addedNic(near: Element, nic: VmNic, { devicesFrom }: From): Element {
  return former(near, devicesFrom, (root) => nicByMac(root, nic.mac)) ?? nicElement(near, nic);
}

function former(
  near: Element,
  xml: string | undefined,
  find: (root: Element) => Element | undefined,
): Element | undefined {
  const found = xml === undefined ? undefined : find(parseXml(xml));
  if (found === undefined) return undefined;
  const copy = documentOf(near).importNode(found, true);
  // Its slot may be taken by now.
  remove(child(copy, "address"));
  return copy;
}
