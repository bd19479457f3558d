/**
 * What a domain has beyond the contract's fields, in a few words: devices passed through, shared folders, settings that
 * bind a guest to its host. It is shown and preserved, never edited. Only what the definition says is told, not what
 * libvirt assigns at start: a running guest and its definition read the same. Facts: libvirt 9.0 docs/formatdomain.rst.
 */
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { OtherHardware } from "@innkeeper/contract/resource/vm-spec.ts";
import { childElements } from "#libvirt/xml.ts";
import { attribute, child, children, text } from "./element.ts";

/** libvirt's namespace for arguments to QEMU itself (docs/drvqemu.rst). */
const qemuNamespace = "http://libvirt.org/schemas/domain/qemu/1.0";
/** Bounds what a domain of thousands of devices costs. */
const itemMax = 256;

type Reader = (device: ReadElement) => string | undefined;

/** By element of <devices>. What is in every VM (controllers, input, sound of the desktop …) is not told. */
const deviceReaders: Readonly<Record<string, Reader>> = {
  hostdev: readHostDevice,
  filesystem: (device) => words(driverType(device), sourceOf(device), "as", attribute(child(device, "target"), "dir")),
  redirdev: (device) => words(attribute(device, "bus"), attribute(device, "type")),
  smartcard: (device) => words(attribute(device, "mode")),
  shmem: (device) => words(attribute(device, "name"), attribute(child(device, "model"), "type")),
  memory: (device) => words(attribute(device, "model"), sizeOf(child(device, "target/size"))),
  watchdog: (device) => words(attribute(device, "model"), attribute(device, "action") ?? "reset"),
  iommu: (device) => words(attribute(device, "model")),
  vsock: () => "vsock",
  crypto: (device) => words(attribute(device, "model")),
  nvram: () => "nvram",
  panic: (device) => attribute(device, "model") ?? "panic",
  lease: (device) => words(text(child(device, "lockspace")), text(child(device, "key"))),
  parallel: (device) => words(attribute(device, "type")),
  sound: (device) => words(attribute(device, "model")),
  tpm: (device) => {
    const type = attribute(child(device, "backend"), "type");
    return type === "emulator" ? undefined : words(type, attribute(child(device, "backend/device"), "path"));
  },
  input: (device) =>
    ["passthrough", "evdev"].includes(attribute(device, "type") ?? "")
      ? words(
          attribute(device, "type"),
          attribute(child(device, "source"), "evdev") ?? attribute(child(device, "source"), "dev"),
        )
      : undefined,
};

export function readOtherHardware(root: ReadElement): OtherHardware[] {
  const found: OtherHardware[] = [];
  const add = (kind: string, detail: string | undefined): void => {
    if (detail !== undefined && found.length < itemMax) found.push({ kind, detail });
  };
  for (const device of children(child(root, "devices"))) {
    const read = Object.hasOwn(deviceReaders, device.tagName) ? deviceReaders[device.tagName] : undefined;
    if (read) add(device.tagName, read(device));
  }
  add("launchSecurity", attribute(child(root, "launchSecurity"), "type"));
  const backing = child(root, "memoryBacking");
  const memory = words(attribute(child(backing, "source"), "type"), attribute(child(backing, "access"), "mode"));
  add("memoryBacking", memory === "" ? undefined : memory);
  add("commandline", readCommandLine(root));
  add("kernel", text(child(root, "os/kernel")));
  return found;
}

function readHostDevice(device: ReadElement): string {
  const type = attribute(device, "type");
  const source = child(device, "source");
  const mode = attribute(device, "mode");
  if (mode === "capabilities") return words(type, text(children(source)[0]));
  if (type === "usb") {
    const [vendor, product] = ["vendor", "product"].map((name) => attribute(child(source, name), "id"));
    const address = child(source, "address");
    const place = address && `bus ${attribute(address, "bus")} device ${attribute(address, "device")}`;
    return words(type, vendor && product ? `${vendor}:${product}` : place);
  }
  if (type === "scsi" || type === "scsi_host") {
    const adapter =
      attribute(child(source, "adapter"), "name") ?? attribute(source, "wwpn") ?? attribute(source, "name");
    return words(type, adapter);
  }
  return words(type, pciAddress(child(source, "address")));
}

/** As lspci prints it; an mdev has a UUID. */
export function pciAddress(address: ReadElement | undefined): string | undefined {
  const uuid = attribute(address, "uuid");
  if (address === undefined || uuid !== undefined) return uuid;
  const part = (name: string, digits: number): string =>
    Number(attribute(address, name) ?? 0)
      .toString(16)
      .padStart(digits, "0");
  return `${part("domain", 4)}:${part("bus", 2)}:${part("slot", 2)}.${part("function", 1)}`;
}

function driverType(device: ReadElement): string | undefined {
  return attribute(child(device, "driver"), "type") ?? attribute(device, "type");
}

function sourceOf(device: ReadElement): string | undefined {
  const source = child(device, "source");
  return ["dir", "file", "dev", "socket", "name", "usage"]
    .map((name) => attribute(source, name))
    .find((value) => value !== undefined);
}

function sizeOf(size: ReadElement | undefined): string | undefined {
  const value = text(size);
  return value && `${value} ${attribute(size, "unit") ?? "KiB"}`;
}

/** How many: what they say is in the XML, and may be long. */
function readCommandLine(root: ReadElement): string | undefined {
  const given = qemuElements(root).flatMap(qemuElements);
  const count = given.filter(({ localName }) => localName === "arg").length;
  const environment = given.filter(({ localName }) => localName === "env").length;
  return count + environment === 0 ? undefined : `${count} qemu:arg, ${environment} qemu:env`;
}

function qemuElements(parent: ReadElement): ReadElement[] {
  return childElements(parent).filter(({ namespaceURI }) => namespaceURI === qemuNamespace);
}

function words(...parts: readonly (string | undefined)[]): string {
  const given = parts.map((part) => part?.trim() ?? "");
  return given.filter((part, index) => part !== "" && !(part === "as" && given[index + 1] === "")).join(" ");
}
