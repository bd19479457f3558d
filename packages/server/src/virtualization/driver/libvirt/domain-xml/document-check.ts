/**
 * Domain documents that clients write. Invariant: nothing in an accepted document names a file, a device, an address or
 * a program of the host, weakens the guest's confinement, or passes arguments to the hypervisor by hand. What is neither
 * known nor harmless is refused by its path; everything else is left to libvirt's schema. Facts: libvirt 9.0
 * docs/formatdomain.rst.
 */
import type { Attr, Element } from "@xmldom/xmldom";
import { AppError } from "#core/app-error.ts";
import { attribute, children, text } from "./element.ts";

/** Children of <domain>; seclabel, resource, bootloader, idmap and the hypervisors' namespaces are not among them. */
const domainParts = new Set(
  `name uuid title description genid metadata maxMemory memory currentMemory memoryBacking memtune numatune vcpu vcpus
  iothreads iothreadids defaultiothread cputune blkiotune sysinfo os features cpu clock on_poweroff on_reboot on_crash
  on_lockfailure pm devices launchSecurity keywrap`.split(/\s+/),
);

/** Attributes and elements that lead out of the guest wherever they stand. */
const outwardAttributes = new Set(
  "file path dir socket rendernode evdev script template xauth display vgaconf host service database".split(" "),
);
const outwardElements = new Set(
  `kernel initrd dtb init initarg initdir inituser bootloader backingStore mirror auth encryption reservations cookies
  slices log script binary seclabel host server database certificate protocol nvram teaming backenddomain`.split(/\s+/),
);
/** Of a <source>: all that it may say, as what it names is in the request. */
const sourceAttributes = new Set(["startupPolicy", "portgroup", "mode", "channel"]);

type Rule = (device: Element) => string | undefined;

const typed =
  (...allowed: readonly string[]): Rule =>
  (device) => {
    const type = attribute(device, "type");
    return type === undefined || allowed.includes(type) ? undefined : `type ${type}`;
  };
const character = typed("pty", "null", "vc", "unix", "spicevmc", "spiceport", "qemu-vdagent");
const fine: Rule = () => undefined;

/** Devices that live inside of the guest, with what makes one of them reach out. */
const devices: Readonly<Record<string, Rule>> = {
  disk: (disk) => ["rawio", "sgio"].find((name) => disk.hasAttribute(name)),
  controller: fine,
  interface: (nic) => (children(nic, "backend").length > 0 ? "backend" : undefined),
  serial: character,
  parallel: character,
  console: character,
  channel: character,
  input: typed("mouse", "tablet", "keyboard"),
  tpm: (tpm) => children(tpm, "backend").map(typed("emulator"))[0],
  graphics: typed("vnc", "spice"),
  sound: fine,
  audio: typed("none", "spice"),
  video: fine,
  watchdog: fine,
  memballoon: fine,
  rng: randomSource,
  panic: fine,
  vsock: fine,
  iommu: fine,
  hub: fine,
  redirdev: typed("spicevmc"),
  smartcard: (card) => (attribute(card, "mode") === "passthrough" ? typed("spicevmc")(card) : "the host's reader"),
  memory: fine,
};

/** Every host's kernel has these; libvirt lets QEMU open them by default (qemu.conf cgroup_device_acl, qemu_validate.c). */
const randomDevices: readonly string[] = ["/dev/urandom", "/dev/random", "/dev/hwrng"];

function randomSource(rng: Element): string | undefined {
  for (const backend of children(rng, "backend")) {
    const model = attribute(backend, "model");
    if (model === "builtin") continue;
    if (model !== "random") return `backend ${model ?? ""}`;
    const device = text(backend);
    if (device !== undefined && !randomDevices.includes(device)) return device;
  }
  return undefined;
}

/** Throws unsupported for the first thing that reaches out; `field` is where the document is in the request. */
export function checkDocument(root: Element, field: string): void {
  for (const part of elementsOf(root)) {
    if (part.namespaceURI || !domainParts.has(part.tagName)) refuse(field, part.tagName);
    if (part.tagName === "devices") checkDevices(part, field);
    else if (!["metadata", "memoryBacking"].includes(part.tagName)) checkDeep(part, field, part.tagName);
    if (part.tagName === "memoryBacking") checkBacking(part, field);
    if (part.tagName === "blkiotune" && children(part, "device").length > 0) refuse(field, "blkiotune/device");
    if (part.tagName === "os") checkFirmware(part, field);
  }
}

function checkDevices(parent: Element, field: string): void {
  for (const device of elementsOf(parent)) {
    const path = `devices/${device.tagName}`;
    const rule = Object.hasOwn(devices, device.tagName) ? devices[device.tagName] : undefined;
    if (rule === undefined || device.namespaceURI) refuse(field, path);
    const outward = rule(device);
    if (outward !== undefined) refuse(field, path, outward);
    checkDeep(device, field, path);
  }
}

/** Its source is a kind of memory, not a place; `file` is a folder of the host's. */
function checkBacking(backing: Element, field: string): void {
  const [source] = children(backing, "source");
  const type = attribute(source, "type");
  if (type !== undefined && !["anonymous", "memfd"].includes(type))
    refuse(field, "memoryBacking/source", `type ${type}`);
}

/** Firmware is chosen by its kind, never by a file. */
function checkFirmware(os: Element, field: string): void {
  for (const name of ["loader", "nvram"]) {
    if (children(os, name).some((element) => text(element) !== undefined)) refuse(field, `os/${name}`);
  }
  if (children(os, "acpi").length > 0) refuse(field, "os/acpi");
}

function checkDeep(element: Element, field: string, path: string): void {
  for (const { name } of Array.from<Attr>(element.attributes)) {
    if (outwardAttributes.has(name)) refuse(field, `${path}/@${name}`);
    if (element.tagName === "source" && !sourceAttributes.has(name)) refuse(field, `${path}/@${name}`);
  }
  for (const inner of elementsOf(element)) {
    const at = `${path}/${inner.tagName}`;
    if (inner.namespaceURI || outwardElements.has(inner.tagName)) refuse(field, at);
    // <memory><source><path> is a persistent memory device of the host.
    if (element.tagName === "source" && inner.tagName === "path") refuse(field, at);
    checkDeep(inner, field, at);
  }
}

function elementsOf(parent: Element): Element[] {
  return Array.from(parent.childNodes).filter((node): node is Element => node.nodeType === node.ELEMENT_NODE);
}

function refuse(field: string, path: string, what?: string): never {
  const detail = what === undefined ? "" : ` (${what})`;
  const message = `A VM's document must not have ${path}${detail}: it reaches out of the guest, or is not known to stay in it.`;
  throw new AppError("unsupported", message, {
    field,
    remedy: "Leave it out; add it with virsh edit on the host if the guest needs it.",
  });
}
