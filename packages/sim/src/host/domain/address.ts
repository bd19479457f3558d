// Addresses of devices on their buses, in libvirt's order and places (qemuDomainAssignDevicePCISlots and its kin in
// libvirt 9.0 src/qemu/qemu_domain_address.c), for the machine types pc and q35: on q35 each device has a root port of
// its own, and one more waits for a device that is plugged in.
import { attributeOf, element, elements, find } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";

export function assignAddresses(domain: Element, devices: Element): void {
  assignDrives(devices);
  assignPorts(devices);
  const q35 = attributeOf(domain, "os", "type", "machine")?.includes("q35") === true;
  const wanting = pciDevices(devices).filter((device) => find(device, "address") === undefined);
  if (q35) new PciExpress(devices).assign(wanting, true);
  else assignPci(devices, wanting);
}

/** A device that is plugged in later. False when no slot is free. */
export function assignPlugged(domain: Element, devices: Element, device: Element): boolean {
  if (find(device, "address") !== undefined) return true;
  assignDrives(devices);
  if (!isPci(device)) return true;
  const q35 = attributeOf(domain, "os", "type", "machine")?.includes("q35") === true;
  if (!q35) {
    assignPci(devices, [device]);
    return true;
  }
  return new PciExpress(devices).assign([device], false);
}

function pci(bus: number, slot: number, fn = 0, extra: Readonly<Record<string, string>> = {}): Element {
  const place = { domain: "0x0000", bus: hex(bus, 2), slot: hex(slot, 2), function: `0x${fn.toString(16)}` };
  return element("address", { type: "pci", ...place, ...extra });
}

/** In the order in which libvirt gives them places. */
const PCI_ORDER =
  "filesystem interface sound controller disk hostdev memballoon rng video shmem vsock watchdog input".split(" ");

function pciDevices(devices: Element): Element[] {
  const of = (name: string): Element[] => elements(devices, name).filter(isPci);
  return PCI_ORDER.flatMap(of);
}

function isPci(device: Element): boolean {
  const type = device.attributes.get("type");
  const model = device.attributes.get("model");
  switch (device.name) {
    case "interface":
    case "filesystem":
    case "sound":
    case "rng":
    case "video":
    case "shmem":
    case "vsock":
      return true;
    case "controller":
      return (
        type === "virtio-serial" ||
        ((type === "usb" || type === "scsi") && model !== "none") ||
        type === "sata" ||
        type === "ide"
      );
    case "disk":
      return attributeOf(device, "target", "bus") === "virtio";
    case "hostdev":
      return type === "pci";
    case "memballoon":
      return model !== "none";
    case "watchdog":
      return model === "i6300esb";
    case "input":
      return device.attributes.get("bus") === "virtio";
    default:
      return false;
  }
}

/** Devices with a place of their own on the machine's chipset. */
function fixedPlace(device: Element, q35: boolean): Element | undefined {
  const type = device.attributes.get("type");
  if (device.name === "controller" && type === "sata" && device.attributes.get("index") === "0" && q35)
    return pci(0, 0x1f, 2);
  if (device.name === "controller" && type === "ide" && !q35) return pci(0, 1, 1);
  if (device.name === "controller" && type === "usb" && device.attributes.get("model") === "piix3-uhci" && !q35)
    return pci(0, 1, 2);
  if (device.name === "video" && attributeOf(device, "model", "primary") === "yes") return pci(0, q35 ? 1 : 2);
  return undefined;
}

function usedOn(devices: Element, key: "bus" | "slot"): Set<number> {
  const addresses = elements(devices).flatMap((device) => find(device, "address") ?? []);
  const places = addresses.filter((address) => address.attributes.get("type") === "pci");
  return new Set(places.map((address) => Number(address.attributes.get(key))));
}

function assignPci(devices: Element, wanting: readonly Element[]): void {
  for (const device of wanting) {
    const fixed = fixedPlace(device, false);
    if (fixed !== undefined) device.children.push(fixed);
  }
  const used = usedOn(devices, "slot");
  let slot = 2;
  for (const device of wanting.filter((each) => find(each, "address") === undefined)) {
    while (used.has(slot)) slot += 1;
    used.add(slot);
    device.children.push(pci(0, slot));
  }
}

const ROOT_PORT_SLOT = 2;

class PciExpress {
  readonly #devices: Element;

  constructor(devices: Element) {
    this.#devices = devices;
  }

  /** @param mayGrow whether new root ports can be added: not while the guest runs. */
  assign(wanting: readonly Element[], mayGrow: boolean): boolean {
    for (const device of wanting) {
      const fixed = fixedPlace(device, true);
      if (fixed !== undefined) device.children.push(fixed);
    }
    const free = this.#freePorts();
    for (const device of wanting.filter((each) => find(each, "address") === undefined)) {
      const bus = free.shift() ?? (mayGrow ? this.#addPort() : undefined);
      if (bus === undefined) return false;
      device.children.push(pci(bus, 0));
    }
    if (mayGrow && free.length === 0) this.#addPort();
    return true;
  }

  #ports(): Element[] {
    return elements(this.#devices, "controller").filter((each) => each.attributes.get("model") === "pcie-root-port");
  }

  #freePorts(): number[] {
    const used = usedOn(this.#devices, "bus");
    return this.#ports()
      .map((port) => Number(port.attributes.get("index")))
      .filter((index) => !used.has(index))
      .sort((left, right) => left - right);
  }

  #addPort(): number {
    const taken = elements(this.#devices, "controller")
      .filter((each) => each.attributes.get("type") === "pci")
      .map((each) => Number(each.attributes.get("index")));
    const index = Math.max(0, ...taken) + 1;
    const count = this.#ports().length;
    const fn = count % 8;
    const target = element("target", { chassis: index, port: `0x${(0x10 + count).toString(16)}` });
    const place = pci(0, ROOT_PORT_SLOT + Math.floor(count / 8), fn, fn === 0 ? { multifunction: "on" } : {});
    const model = element("model", { name: "pcie-root-port" });
    const port = element("controller", { type: "pci", index, model: "pcie-root-port" }, [model, target, place]);
    this.#devices.children.push(port);
    return index;
  }
}

/** Disks on controllers with units: sda is the first, sdb the second. */
function assignDrives(devices: Element): void {
  for (const disk of elements(devices, "disk")) {
    if (find(disk, "address") !== undefined) continue;
    const bus = attributeOf(disk, "target", "bus");
    const number = diskNumber(attributeOf(disk, "target", "dev") ?? "");
    const place = (controller: number, on: number, unit: number): void => {
      disk.children.push(element("address", { type: "drive", controller, bus: on, target: 0, unit }));
    };
    if (bus === "ide") place(0, Math.floor(number / 2), number % 2);
    else if (bus === "sata") place(Math.floor(number / 6), 0, number % 6);
    else if (bus === "scsi") place(Math.floor(number / 7), 0, number % 7);
    else if (bus === "fdc") place(0, 0, number % 2);
  }
}

/** "vda" → 0, "vdb" → 1, "vdaa" → 26 (virDiskNameToIndex). */
export function diskNumber(target: string): number {
  const letters = target.replace(/^(?:vd|sd|hd|fd|xvd|ubd)/u, "").replace(/\d+$/u, "");
  let number = 0;
  for (const letter of letters) number = number * 26 + (letter.charCodeAt(0) - 96);
  return Math.max(0, number - 1);
}

/** Ports of channels on the virtio-serial bus, from 1. */
function assignPorts(devices: Element): void {
  const used = new Set(
    elements(devices, "channel").flatMap((each) => Number(attributeOf(each, "address", "port") ?? Number.NaN)),
  );
  let port = 1;
  for (const channel of elements(devices, "channel")) {
    if (attributeOf(channel, "target", "type") !== "virtio" || find(channel, "address") !== undefined) continue;
    while (used.has(port)) port += 1;
    used.add(port);
    channel.children.push(element("address", { type: "virtio-serial", controller: 0, bus: 0, port }));
  }
}

function hex(value: number, width: number): string {
  return `0x${value.toString(16).padStart(width, "0")}`;
}
