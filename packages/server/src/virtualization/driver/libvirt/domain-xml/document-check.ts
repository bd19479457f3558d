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

/** Something that reaches out of the guest, or is not known to stay in it. */
export interface OutwardPart {
  readonly path: string;
  readonly what?: string;
  /** The device that it is part of, else the very element. */
  readonly owner: Element;
}

/** Throws unsupported for the first thing that reaches out; `field` is where the document is in the request. */
export function checkDocument(root: Element, field: string): void {
  for (const part of outwardParts(root)) {
    const message = `A VM's document must not have ${titleOf(part)}: it reaches out of the guest, or is not known to stay in it.`;
    const remedy = "Leave it out; add it with virsh edit on the host if the guest needs it.";
    throw new AppError("unsupported", message, { field, remedy });
  }
}

/** As in "must not have …". */
export function titleOf({ path, what }: OutwardPart): string {
  return what === undefined ? path : `${path} (${what})`;
}

/** All of a domain, in document order; what is unknown is not looked into. */
export function* outwardParts(root: Element): Generator<OutwardPart> {
  for (const part of elementsOf(root)) {
    const { tagName } = part;
    if (part.namespaceURI || !domainParts.has(tagName)) yield { path: tagName, owner: part };
    else if (tagName === "devices") yield* outwardDevices(part);
    else if (tagName === "memoryBacking") yield* outwardBacking(part);
    else if (tagName !== "metadata") yield* within(part, tagName);
    if (tagName === "blkiotune") {
      for (const owner of children(part, "device")) yield { path: "blkiotune/device", owner };
    }
    if (tagName === "os") yield* outwardFirmware(part);
  }
}

function* outwardDevices(parent: Element): Generator<OutwardPart> {
  for (const device of elementsOf(parent)) {
    const path = `devices/${device.tagName}`;
    const rule = Object.hasOwn(devices, device.tagName) ? devices[device.tagName] : undefined;
    const outward = rule?.(device);
    if (rule === undefined || device.namespaceURI) yield { path, owner: device };
    else if (outward !== undefined) yield { path, what: outward, owner: device };
    else yield* within(device, path, device);
  }
}

/** Its source is a kind of memory, not a place; `file` is a folder of the host's. */
function* outwardBacking(backing: Element): Generator<OutwardPart> {
  for (const owner of children(backing, "source")) {
    const type = attribute(owner, "type");
    if (type !== undefined && !["anonymous", "memfd"].includes(type))
      yield { path: "memoryBacking/source", what: `type ${type}`, owner };
  }
}

/** Firmware is chosen by its kind, never by a file. */
function* outwardFirmware(os: Element): Generator<OutwardPart> {
  for (const name of ["loader", "nvram"]) {
    for (const element of children(os, name)) {
      if (text(element) !== undefined) yield { path: `os/${name}`, owner: element };
    }
  }
  for (const owner of children(os, "acpi")) yield { path: "os/acpi", owner };
}

function* within(element: Element, path: string, device?: Element): Generator<OutwardPart> {
  for (const { name } of Array.from<Attr>(element.attributes)) {
    const isOutward = outwardAttributes.has(name) || (element.tagName === "source" && !sourceAttributes.has(name));
    if (isOutward) yield { path: `${path}/@${name}`, owner: device ?? element };
  }
  for (const inner of elementsOf(element)) {
    const at = `${path}/${inner.tagName}`;
    // <memory><source><path> is a persistent memory device of the host.
    const isPlace = element.tagName === "source" && inner.tagName === "path";
    if (inner.namespaceURI || outwardElements.has(inner.tagName) || isPlace) yield { path: at, owner: device ?? inner };
    else yield* within(inner, at, device);
  }
}

function elementsOf(parent: Element): Element[] {
  return Array.from(parent.childNodes).filter((node): node is Element => node.nodeType === node.ELEMENT_NODE);
}
