// What QEMU's driver of libvirt 9.0 adds to and fills in of a domain's devices, for the machine types pc and q35
// (qemuDomainDefAddDefaultDevices, qemuDomainDeviceDefPostParse, virDomainDefAddImplicitDevices).
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_XML_ERROR,
  VIR_FROM_DOMAIN,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { attributeOf, element, elements, find, replaceChild } from "#xml/element.ts";
import { assignAddresses } from "./address.ts";
import type { Random } from "#host/random.ts";
import type { Element } from "#xml/element.ts";

export function isQ35(domain: Element): boolean {
  return attributeOf(domain, "os", "type", "machine")?.includes("q35") === true;
}

export function completeDevices(domain: Element, devices: Element, random: Random): void {
  const q35 = isQ35(domain);
  for (const device of elements(devices)) completeDevice(device, q35, random);
  refuseDuplicates(devices);
  addConsole(devices);
  addControllers(devices, q35);
  addImplicit(devices);
  assignAddresses(domain, devices);
}

/** Fills in one device, as a new one that is attached needs it too. Addresses are not given here. */
export function completeDevice(device: Element, q35: boolean, random: Random): void {
  const complete = COMPLETE[device.name];
  complete?.(device, q35, random);
}

const COMPLETE: Readonly<Record<string, (device: Element, q35: boolean, random: Random) => void>> = {
  disk,
  interface: networkCard,
  serial,
  console,
  graphics,
  video,
  channel,
};

function disk(device: Element, q35: boolean): void {
  const type = device.attributes.get("type") ?? "file";
  const kind = device.attributes.get("device") ?? "disk";
  const rest = [...device.attributes].filter(([key]) => key !== "type" && key !== "device");
  device.attributes.clear();
  device.attributes.set("type", type).set("device", kind);
  for (const [key, value] of rest) device.attributes.set(key, value);
  const target = find(device, "target");
  const name = target?.attributes.get("dev");
  if (target === undefined || name === undefined) throw missingTarget(device);
  if (!target.attributes.has("bus")) target.attributes.set("bus", busOf(name, kind, q35));
  const driver = find(device, "driver") ?? element("driver");
  const given = Object.fromEntries(driver.attributes);
  replaceChild(
    device,
    "driver",
    element("driver", { ...given, name: given["name"] ?? "qemu", type: given["type"] ?? "raw" }),
  );
  if (kind === "cdrom" && find(device, "readonly") === undefined) device.children.push(element("readonly"));
}

function missingTarget(device: Element): SimError {
  const source = attributeOf(device, "source", "file") ?? attributeOf(device, "source", "dev");
  return source === undefined
    ? new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_DOMAIN, "disk has no target")
    : new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_DOMAIN, `disk ${source} has no target`);
}

function busOf(target: string, kind: string, q35: boolean): string {
  if (target.startsWith("vd")) return "virtio";
  if (target.startsWith("hd")) return "ide";
  if (target.startsWith("fd")) return "fdc";
  if (target.startsWith("sd")) return kind === "cdrom" && q35 ? "sata" : "scsi";
  return "virtio";
}

/** Two disks of one name, or two network cards of one MAC address, can't be. */
function refuseDuplicates(devices: Element): void {
  const seen = new Map<string, Element>();
  for (const each of elements(devices, "disk")) {
    const target = attributeOf(each, "target", "dev") ?? "";
    const other = seen.get(target);
    if (other !== undefined) throw duplicateTarget(target, other, each);
    seen.set(target, each);
  }
}

export function duplicateTarget(target: string, other: Element, each: Element): SimError {
  const detail = `target '${target}' duplicated for disk sources '${source(other)}' and '${source(each)}'`;
  return new SimError(VIR_ERR_XML_ERROR, VIR_FROM_DOMAIN, detail);
}

function networkCard(device: Element, _q35: boolean, random: Random): void {
  const mac = attributeOf(device, "mac", "address");
  if (mac === undefined) replaceChild(device, "mac", element("mac", { address: random.mac() }));
  else replaceChild(device, "mac", element("mac", { address: mac.toLowerCase() }));
  if (find(device, "model") === undefined) device.children.push(element("model", { type: "rtl8139" }));
  if (attributeOf(device, "target", "dev")?.startsWith("vnet") === true) replaceChild(device, "target", undefined);
}

function serial(device: Element): void {
  const port = attributeOf(device, "target", "port") ?? "0";
  const type = attributeOf(device, "target", "type") ?? "isa-serial";
  const model = attributeOf(device, "target", "model", "name") ?? type;
  replaceChild(device, "target", element("target", { type, port }, [element("model", { name: model })]));
  if (device.attributes.get("type") === "pty") replaceChild(device, "source", undefined);
}

function console(device: Element): void {
  const type = attributeOf(device, "target", "type") ?? "serial";
  const port = attributeOf(device, "target", "port") ?? "0";
  device.attributes.delete("tty");
  replaceChild(device, "target", element("target", { type, port }));
  if (device.attributes.get("type") === "pty") replaceChild(device, "source", undefined);
}

function channel(device: Element): void {
  find(device, "target")?.attributes.delete("state");
  const path = attributeOf(device, "source", "path");
  if (path?.startsWith("/var/lib/libvirt/qemu/channel/") === true) replaceChild(device, "source", undefined);
}

function graphics(device: Element): void {
  if (device.attributes.get("type") !== "vnc" && device.attributes.get("type") !== "spice") return;
  if (!device.attributes.has("port")) device.attributes.set("port", "-1");
  if (device.attributes.get("port") === "-1") device.attributes.set("autoport", "yes");
  else if (!device.attributes.has("autoport")) device.attributes.set("autoport", "no");
  // While it runs, the port that was taken is shown; it is no part of the definition.
  if (device.attributes.get("autoport") === "yes") device.attributes.set("port", "-1");
  const listen = device.attributes.get("listen");
  if (find(device, "listen") !== undefined) return;
  device.children.push(element("listen", { type: "address", address: listen }));
}

const VIDEO_MEMORY: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  vga: { vram: "16384" },
  cirrus: { vram: "16384" },
  qxl: { ram: "65536", vram: "65536", vgamem: "16384" },
};

function video(device: Element): void {
  const model = find(device, "model") ?? element("model", { type: "cirrus" });
  const type = model.attributes.get("type") ?? "cirrus";
  const given = Object.fromEntries([...model.attributes].filter(([key]) => key !== "type"));
  const attributes = { type, ...VIDEO_MEMORY[type], heads: "1", primary: "yes", ...given };
  replaceChild(device, "model", element("model", attributes, model.children));
}

/** The first serial line is the console, too. */
function addConsole(devices: Element): void {
  const line = find(devices, "serial");
  if (line === undefined || find(devices, "console") !== undefined) return;
  const target = element("target", { type: "serial", port: "0" });
  devices.children.push(element("console", { type: line.attributes.get("type") ?? "pty" }, [target]));
}

function addControllers(devices: Element, q35: boolean): void {
  const has = (type: string): boolean =>
    elements(devices, "controller").some((each) => each.attributes.get("type") === type);
  const add = (type: string, model?: string): void => {
    if (!has(type)) devices.children.push(element("controller", { type, index: 0, model }));
  };
  const uses = (bus: string): boolean =>
    elements(devices, "disk").some((each) => attributeOf(each, "target", "bus") === bus);
  add("usb", q35 ? "qemu-xhci" : "piix3-uhci");
  if (q35) add("sata");
  addPciRoot(devices, q35 ? "pcie-root" : "pci-root");
  if (uses("ide")) add("ide");
  if (uses("sata")) add("sata");
  if (uses("scsi")) add("scsi", "lsilogic");
  const ports = [...elements(devices, "channel"), ...elements(devices, "console")];
  if (ports.some((each) => attributeOf(each, "target", "type") === "virtio")) add("virtio-serial");
  for (const usb of elements(devices, "controller"))
    if (usb.attributes.get("type") === "usb" && !usb.attributes.has("model"))
      usb.attributes.set("model", q35 ? "qemu-xhci" : "piix3-uhci");
  numberControllers(devices);
}

/** It is PCI controller 0; root ports that virt-install lists without an index come after it. */
function addPciRoot(devices: Element, model: string): void {
  const known = elements(devices, "controller").find(
    ({ attributes }) =>
      attributes.get("type") === "pci" && (attributes.get("index") === "0" || attributes.get("model") === model),
  );
  if (known === undefined) devices.children.push(element("controller", { type: "pci", index: 0, model }));
  else known.attributes.set("index", "0");
}

/** One without an index gets the first of its type that is free. */
function numberControllers(devices: Element): void {
  for (const [, controllers] of Map.groupBy(elements(devices, "controller"), (each) => each.attributes.get("type"))) {
    const used = new Set(controllers.map((each) => each.attributes.get("index")));
    for (const { attributes } of controllers.filter((each) => !each.attributes.has("index"))) {
      let index = 0;
      while (used.has(String(index))) index++;
      used.add(String(index));
      attributes.set("index", String(index));
    }
  }
}

function addImplicit(devices: Element): void {
  const inputs = elements(devices, "input");
  for (const type of ["mouse", "keyboard"])
    if (!inputs.some((each) => each.attributes.get("type") === type && each.attributes.get("bus") === "ps2"))
      devices.children.push(element("input", { type, bus: "ps2" }));
  if (find(devices, "graphics") !== undefined && find(devices, "video") === undefined) {
    const model = element("model", { type: "cirrus", vram: 16384, heads: 1, primary: "yes" });
    devices.children.push(element("video", {}, [model]));
  }
  if (find(devices, "audio") === undefined) devices.children.push(element("audio", { id: 1, type: "none" }));
  if (find(devices, "memballoon") === undefined) devices.children.push(element("memballoon", { model: "virtio" }));
}

function source(of: Element): string {
  return attributeOf(of, "source", "file") ?? attributeOf(of, "source", "dev") ?? "(null)";
}
