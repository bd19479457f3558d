/**
 * Machine type: `q35`, `pc`, `pc-q35-7.2` … A change to another family makes every PCI address and bridge of the old one
 * meaningless, so those go and libvirt lays the bus out anew; within a family all stays.
 */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import { add, attribute, child, children, descendants, ensure, remove, setAttributes } from "./element.ts";

/** As virt-install does (virtinst/guest.py): room for devices that are added while the VM runs. */
const hotplugPortCount = 14;

export function readMachine(root: ReadElement): string | undefined {
  return attribute(child(root, "os/type"), "machine");
}

export function isQ35(machine: string | undefined): boolean {
  return machine !== undefined && /^(pc-)?q35/.test(machine);
}

export function editMachine(root: Element, machine: string): void {
  const before = readMachine(root);
  setAttributes(ensure(root, "os/type"), { machine });
  if (before === undefined || isQ35(before) === isQ35(machine)) return;
  const devices = ensure(root, "devices");
  for (const controller of children(devices, "controller")) {
    if (["pci", "ide", "usb"].includes(attribute(controller, "type") ?? "")) remove(controller);
  }
  for (const address of descendants(devices, "address")) {
    const parent = address.parentNode;
    if (attribute(address, "type") === "pci" && parent?.nodeName !== "source") remove(address);
  }
  addControllers(root, machine);
}

/** PCI Express ports for hot-plugged devices, and a USB 3 controller (QEMU docs/pcie.txt). */
export function addControllers(root: Element, machine: string): void {
  const devices = ensure(root, "devices");
  add(devices, "controller", { type: "usb", model: "qemu-xhci", ports: 15 });
  if (!isQ35(machine)) return;
  add(devices, "controller", { type: "pci", model: "pcie-root" });
  for (let port = 0; port < hotplugPortCount; port++) {
    add(devices, "controller", { type: "pci", model: "pcie-root-port" });
  }
}
