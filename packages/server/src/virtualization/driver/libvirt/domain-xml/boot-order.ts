/**
 * Boot order per device. libvirt refuses it together with <os><boot dev>, and refuses a number that is used twice
 * (libvirt 9.0 virDomainDefBootOrderPostParse), so the first edit turns the old form into the new and others make room.
 */
import type { Element } from "@xmldom/xmldom";
import { add, attribute, child, children, remove, setAttributes, wholeNumber } from "./element.ts";

const bootable: readonly string[] = ["disk", "interface", "hostdev", "redirdev"];

export function setBootOrder(root: Element, device: Element, order: number): void {
  convertBootDevices(root);
  if (orderOf(device) === order) return;
  const others = bootableDevices(root).filter((each) => each !== device && orderOf(each) !== undefined);
  let taken = order;
  // Only as many as stand in the way move down.
  for (const other of others.sort((left, right) => (orderOf(left) ?? 0) - (orderOf(right) ?? 0))) {
    if (orderOf(other) !== taken) continue;
    taken++;
    setOrder(other, taken);
  }
  setOrder(device, order);
}

function bootableDevices(root: Element): Element[] {
  return children(child(root, "devices")).filter((device) => bootable.includes(device.tagName));
}

function orderOf(device: Element): number | undefined {
  return wholeNumber(attribute(child(device, "boot"), "order"));
}

function setOrder(device: Element, order: number): void {
  const boot = child(device, "boot");
  if (boot) setAttributes(boot, { order });
  else add(device, "boot", { order });
}

/** <boot dev='cdrom'/><boot dev='hd'/> means the first device of each kind. */
function convertBootDevices(root: Element): void {
  const devices = bootableDevices(root);
  let order = 1;
  for (const boot of children(child(root, "os"), "boot")) {
    const device = devices.find((each) => bootKind(each) === attribute(boot, "dev") && orderOf(each) === undefined);
    if (device) setOrder(device, order++);
    remove(boot);
  }
}

function bootKind(device: Element): string | undefined {
  if (device.tagName === "interface") return "network";
  if (device.tagName !== "disk") return undefined;
  const kind = attribute(device, "device") ?? "disk";
  return kind === "cdrom" ? "cdrom" : kind === "floppy" ? "fd" : "hd";
}
