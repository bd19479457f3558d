// What a running guest's XML has beside its definition, and taking that away again. libvirt 9.0: aliases
// (src/qemu/qemu_alias.c), ports, host devices, the CPU that QEMU really gives, labels.
import { attributeOf, element, elements, find, isElement, leaf, replaceChild } from "#xml/element.ts";
import type { DiskView } from "#host/context.ts";
import type { Element } from "#xml/element.ts";
import { diskNumber } from "./address.ts";
import { sourceOf } from "./facts.ts";
import { orderDomain } from "./order.ts";

/** What a start gives to a guest. */
export interface LiveFacts {
  readonly id: number;
  readonly name: string;
  /** -1: no display. */
  readonly displayPort: number;
  readonly firstVnet: number;
  readonly firstPty: number;
  readonly isAgentConnected: boolean;
}

/** Turns a definition into the running guest's document. */
export function makeLive(domain: Element, facts: LiveFacts, disks: DiskView): void {
  domain.attributes.set("id", String(facts.id));
  replaceChild(domain, "resource", element("resource", {}, [leaf("partition", "/machine")]));
  const cpu = find(domain, "cpu");
  if (cpu !== undefined && cpu.attributes.get("mode") === "custom") liveCpu(cpu);
  const devices = find(domain, "devices");
  if (devices === undefined) return;
  let vnet = facts.firstVnet;
  for (const nic of elements(devices, "interface")) {
    const type = nic.attributes.get("type") ?? "";
    if (["network", "bridge", "direct", "ethernet"].includes(type) && find(nic, "target") === undefined)
      nic.children.push(element("target", { dev: `${type === "direct" ? "macvtap" : "vnet"}${vnet++}` }));
  }
  liveDisks(devices, disks);
  liveCharacterDevices(devices, facts);
  for (const display of elements(devices, "graphics")) liveDisplay(display, facts.displayPort);
  for (const name of new Set(elements(devices).map((device) => device.name)))
    for (const [index, device] of elements(devices, name).entries()) giveAlias(device, index);
  if (find(domain, "seclabel") === undefined) domain.children.push(label());
  orderDomain(domain);
}

function liveCpu(cpu: Element): void {
  cpu.attributes.set("check", "full");
  find(cpu, "model")?.attributes.set("fallback", "forbid");
  const has = new Set(elements(cpu, "feature").map((feature) => feature.attributes.get("name")));
  for (const name of ["hypervisor", "lahf_lm"])
    if (!has.has(name)) cpu.children.push(element("feature", { policy: "require", name }));
}

function label(): Element {
  const owner = "+64055:+64055"; // libvirt-qemu's user and group on Debian
  return element("seclabel", { type: "dynamic", model: "dac", relabel: "yes" }, [
    leaf("label", owner),
    leaf("imagelabel", owner),
  ]);
}

/** Images are numbered from the last disk to the first, as QEMU's block nodes are. */
function liveDisks(devices: Element, disks: DiskView): void {
  let index = lastIndex(devices);
  const isFirst = index === 0;
  // One that was opened before keeps its numbers.
  const wanting = elements(devices, "disk").filter((disk) => isFirst || isUnopened(disk));
  for (const disk of wanting.toReversed()) index = liveDisk(disk, index, disks);
}

function isUnopened(disk: Element): boolean {
  return find(disk, "source") !== undefined && find(disk, "backingStore") === undefined;
}

/** Of all images that are open. */
export function lastIndex(devices: Element): number {
  const indexes = elements(devices, "disk").flatMap((disk) => {
    const layers = [find(disk, "source")];
    for (let store = find(disk, "backingStore"); store !== undefined; store = find(store, "backingStore"))
      layers.push(store);
    return layers.map((layer) => Number(layer?.attributes.get("index") ?? 0));
  });
  return Math.max(0, ...indexes);
}

/** @param index of the last image so far; returns the new last one. */
export function liveDisk(disk: Element, index: number, disks: DiskView): number {
  const source = find(disk, "source");
  const first = index + 1;
  if (source === undefined) {
    find(disk, "driver")?.attributes.delete("type");
    return first;
  }
  source.attributes.set("index", String(first));
  const { store, last } = backingStore(sourceOf(disk) ?? "", first, disks);
  replaceChild(disk, "backingStore", store);
  return last;
}

const CHAIN_MAX = 200;

function backingStore(path: string, index: number, disks: DiskView): { store: Element; last: number } {
  const backing = index > CHAIN_MAX ? undefined : disks.find(path)?.backing;
  if (backing === undefined) return { store: element("backingStore"), last: index };
  const inner = backingStore(backing.path, index + 1, disks);
  const children = [
    element("format", { type: backing.format }),
    element("source", { file: backing.path }),
    inner.store,
  ];
  return { store: element("backingStore", { type: "file", index: index + 1 }, children), last: inner.last };
}

function liveCharacterDevices(devices: Element, facts: LiveFacts): void {
  let pty = facts.firstPty;
  const lines = elements(devices, "serial");
  for (const line of lines.filter((each) => each.attributes.get("type") === "pty"))
    replaceChild(line, "source", element("source", { path: `/dev/pts/${pty++}` }));
  for (const [index, console] of elements(devices, "console").entries()) {
    if (console.attributes.get("type") !== "pty") continue;
    const isSerial = index === 0 && attributeOf(console, "target", "type") === "serial";
    const path = isSerial ? (attributeOf(lines[0], "source", "path") ?? `/dev/pts/${pty}`) : `/dev/pts/${pty++}`;
    console.attributes.set("tty", path);
    replaceChild(console, "source", element("source", { path }));
  }
  for (const channel of elements(devices, "channel")) {
    const target = find(channel, "target");
    const name = target?.attributes.get("name") ?? "";
    if (channel.attributes.get("type") !== "unix") continue;
    // The name is cut, as libvirt cuts it (virDomainDefGetShortName).
    const folder = `/var/lib/libvirt/qemu/channel/target/domain-${facts.id}-${facts.name.slice(0, 20)}`;
    if (find(channel, "source") === undefined)
      channel.children.push(element("source", { mode: "bind", path: `${folder}/${name}` }));
    const isConnected = name === "org.qemu.guest_agent.0" && facts.isAgentConnected;
    target?.attributes.set("state", isConnected ? "connected" : "disconnected");
  }
  for (const each of [...lines, ...elements(devices, "console"), ...elements(devices, "channel")])
    each.children.sort((left, right) => Number(isSource(right)) - Number(isSource(left)));
}

function isSource(node: Element | string): boolean {
  return isElement(node) && node.name === "source";
}

function liveDisplay(display: Element, port: number): void {
  const listen = find(display, "listen");
  const address = listen?.attributes.get("address") ?? "127.0.0.1";
  if (display.attributes.get("autoport") === "yes") display.attributes.set("port", String(port));
  if (listen?.attributes.get("type") !== "address") return;
  display.attributes.set("listen", address);
  listen.attributes.set("address", address);
}

const PLAIN: Readonly<Record<string, string>> = {
  interface: "net",
  serial: "serial",
  parallel: "parallel",
  channel: "channel",
  input: "input",
  video: "video",
  memballoon: "balloon",
  rng: "rng",
  hostdev: "hostdev",
  sound: "sound",
  tpm: "tpm",
  watchdog: "watchdog",
  filesystem: "fs",
  shmem: "shmem",
  vsock: "vsock",
  redirdev: "redir",
};

export function aliasOf(device: Element, index: number): string | undefined {
  if (device.name === "disk") return diskAlias(device);
  if (device.name === "controller") return controllerAlias(device);
  if (device.name === "console")
    return index === 0 && attributeOf(device, "target", "type") === "serial" ? "serial0" : `console${index}`;
  const prefix = PLAIN[device.name];
  return prefix === undefined ? undefined : `${prefix}${index}`;
}

function giveAlias(device: Element, index: number): void {
  const name = attributeOf(device, "alias", "name") ?? aliasOf(device, index);
  if (name !== undefined) replaceChild(device, "alias", element("alias", { name }));
}

function diskAlias(disk: Element): string {
  const bus = attributeOf(disk, "target", "bus") ?? "";
  const place = find(disk, "address");
  const part = (name: string): string => place?.attributes.get(name) ?? "0";
  const number = diskNumber(attributeOf(disk, "target", "dev") ?? "");
  switch (bus) {
    case "virtio":
      return `virtio-disk${number}`;
    case "ide":
    case "sata":
    case "fdc":
      return `${bus}${part("controller")}-${part("bus")}-${part("unit")}`;
    case "scsi":
      return `scsi${part("controller")}-${part("bus")}-${part("target")}-${part("unit")}`;
    default:
      return `${bus}-disk${number}`;
  }
}

function controllerAlias(controller: Element): string {
  const type = controller.attributes.get("type") ?? "";
  const index = controller.attributes.get("index") ?? "0";
  const model = controller.attributes.get("model");
  if (type === "pci") return model === "pcie-root" ? "pcie.0" : `pci.${index}`;
  if (index === "0" && (type === "sata" || type === "ide")) return "ide";
  if (type === "usb") return index === "0" ? "usb" : `usb${index}`;
  return `${type}${index}`;
}

/** The definition that a running guest's document comes from: what only a running guest has is taken away. */
export function stripLive(domain: Element): void {
  domain.attributes.delete("id");
  replaceChild(domain, "resource", undefined);
  replaceChild(domain, "seclabel", undefined);
  const cpu = find(domain, "cpu");
  if (cpu?.attributes.get("check") === "full") {
    cpu.attributes.set("check", "none");
    cpu.children.splice(0, cpu.children.length, ...cpu.children.filter((child) => !isAdded(child)));
  }
  for (const device of elements(find(domain, "devices"))) stripDevice(device);
}

function stripDevice(device: Element): void {
  if (attributeOf(device, "alias", "name")?.startsWith("ua-") !== true) replaceChild(device, "alias", undefined);
  switch (device.name) {
    case "disk":
      find(device, "source")?.attributes.delete("index");
      replaceChild(device, "backingStore", undefined);
      if (!find(device, "driver")?.attributes.has("type")) find(device, "driver")?.attributes.set("type", "raw");
      return;
    case "interface":
      if (/^(?:vnet|macvtap)\d+$/u.test(attributeOf(device, "target", "dev") ?? ""))
        replaceChild(device, "target", undefined);
      return;
    case "serial":
    case "console":
      device.attributes.delete("tty");
      if (device.attributes.get("type") === "pty") replaceChild(device, "source", undefined);
      return;
    case "channel":
      find(device, "target")?.attributes.delete("state");
      if (attributeOf(device, "source", "mode") === "bind") replaceChild(device, "source", undefined);
      return;
    case "graphics":
      if (device.attributes.get("autoport") !== "yes") return;
      device.attributes.set("port", "-1");
      device.attributes.delete("listen");
      if (attributeOf(device, "listen", "address") === "127.0.0.1")
        find(device, "listen")?.attributes.delete("address");
      return;
    default:
  }
}

function isAdded(node: Element | string): boolean {
  return isElement(node) && ["hypervisor", "lahf_lm"].includes(node.attributes.get("name") ?? "");
}
