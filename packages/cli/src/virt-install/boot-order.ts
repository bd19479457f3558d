/**
 * `boot.order=N` of a device. It ends the old form (--boot hd,cdrom), which libvirt refuses beside it; devices that stand
 * in the way move down. Facts: virtinst/guest.py reorder_boot_order, 4.1.
 */
import type { XmlElement } from "./element.ts";
import type { Guest } from "./guest.ts";
import { type Given, integer } from "./sub-option.ts";

export function applyBootOrder(guest: Guest, option: string, element: XmlElement, given: Given): void {
  const name = ["boot.order", "boot_order"].find((each) => given.has(each));
  if (name === undefined) return;
  const order = integer(option, name, given.get(name));
  const os = guest.root.ensure("os");
  for (const boot of os.all("boot")) os.remove(boot);
  const others = guest.devices.children
    .filter((each) => each !== element && orderOf(each) !== undefined)
    .toSorted((a, b) => (orderOf(a) ?? 0) - (orderOf(b) ?? 0));
  setOrder(element, order);
  let taken = order;
  for (const other of others) {
    if (orderOf(other) !== taken) continue;
    taken++;
    setOrder(other, taken);
  }
}

export function hasBootOrder(guest: Guest): boolean {
  return guest.devices.children.some((device) => orderOf(device) !== undefined);
}

function orderOf(device: XmlElement): number | undefined {
  const order = device.find("boot")?.attributes.get("order");
  return order === undefined ? undefined : Number(order);
}

function setOrder(device: XmlElement, order: number): void {
  device.ensure("boot").set({ order });
}
