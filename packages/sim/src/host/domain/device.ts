// Devices of a domain come, change and go (qemuDomainAttachDeviceFlags and its kin in libvirt 9.0). A guest's own
// consent, which QEMU needs to take a device away, is given at once.
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_DEVICE_MISSING,
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_INVALID_ARG,
  VIR_ERR_OPERATION_UNSUPPORTED,
  VIR_ERR_SYSTEM_ERROR,
  VIR_FROM_DOMAIN,
  VIR_FROM_QEMU,
  VIR_FROM_STORAGE,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { attributeOf, clone, element, elements, find, replaceChild } from "#xml/element.ts";
import { assignAddresses, assignPlugged, diskNumber } from "./address.ts";
import { parseAny } from "#xml/document.ts";
import { completeDevice, duplicateTarget, isQ35 } from "./device-default.ts";
import { impactOf } from "./impact.ts";
import { aliasOf, lastIndex, liveDisk } from "./live.ts";
import { orderDevice, orderDomain } from "./order.ts";
import { sourceOf } from "./facts.ts";
import type { Domains } from "./domains.ts";
import type { Element } from "#xml/element.ts";
import type { SimDomain } from "./sim-domain.ts";

/** Kinds that QEMU takes while a guest runs. */
const PLUGGABLE = new Set([
  "disk",
  "interface",
  "controller",
  "hostdev",
  "channel",
  "rng",
  "memory",
  "input",
  "watchdog",
  "vsock",
  "redirdev",
  "shmem",
]);

/** Elements that are devices (virDomainDeviceType; character devices by their own names). */
const DEVICES: ReadonlySet<string> = new Set(
  (
    "disk lease filesystem interface input sound video hostdev watchdog controller graphics hub redirdev smartcard serial " +
    "parallel console channel memballoon nvram rng shmem tpm panic memory iommu vsock audio"
  ).split(" "),
);

function readDevice(xml: string): Element {
  const device = parseAny(xml, "(device_definition)");
  if (DEVICES.has(device.name)) return device;
  throw new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_DOMAIN, `unknown device type '${device.name}'`);
}

export function attach(domains: Domains, domain: SimDomain, xml: string, flags: number): void {
  const impact = impactOf(domain, flags);
  const device = readDevice(xml);
  if (impact.config) {
    domain.editConfig((root) => {
      const devices = devicesOf(root);
      const added = clone(device);
      completeDevice(added, isQ35(root), domains.context.random);
      refuseTwin(devices, added);
      insert(devices, added);
      assignAddresses(root, devices);
      orderDomain(root);
    });
  }
  if (impact.live) plug(domains, domain, device);
}

function plug(domains: Domains, domain: SimDomain, device: Element): void {
  if (!PLUGGABLE.has(device.name))
    throw new SimError(
      VIR_ERR_OPERATION_UNSUPPORTED,
      VIR_FROM_QEMU,
      `live attach of device '${device.name}' is not supported`,
    );
  let alias = "";
  domain.editLive((root) => {
    const devices = devicesOf(root);
    const added = clone(device);
    completeDevice(added, isQ35(root), domains.context.random);
    refuseTwin(devices, added);
    const count = elements(devices, device.name).length;
    insert(devices, added);
    if (!assignPlugged(root, devices, added))
      throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "No more available PCI slots");
    if (added.name === "disk") openDisk(domains, added, devices);
    if (added.name === "interface") connect(domains, added);
    alias = attributeOf(added, "alias", "name") ?? aliasOf(added, freeIndex(devices, added, count)) ?? "";
    replaceChild(added, "alias", element("alias", { name: alias }));
    orderDevice(added);
    orderDomain(root);
  });
  domains.context.events.domain("deviceAdded", { dom: domain.ref, devAlias: alias });
}

/** A disk stands behind those of its bus that come before it (virDomainDiskInsert). */
function insert(devices: Element, added: Element): void {
  const bus = attributeOf(added, "target", "bus");
  const number = diskNumber(attributeOf(added, "target", "dev") ?? "");
  const before = elements(devices, "disk").findLast(
    (each) =>
      attributeOf(each, "target", "bus") === bus && diskNumber(attributeOf(each, "target", "dev") ?? "") < number,
  );
  if (added.name !== "disk" || before === undefined) devices.children.push(added);
  else devices.children.splice(devices.children.indexOf(before) + 1, 0, added);
}

/** The first number that no device of the kind has. */
function freeIndex(devices: Element, added: Element, count: number): number {
  const taken = new Set(elements(devices, added.name).map((each) => attributeOf(each, "alias", "name")));
  for (let index = 0; index < count; index += 1) if (!taken.has(aliasOf(added, index))) return index;
  return count;
}

function openDisk(domains: Domains, disk: Element, devices: Element): void {
  const source = sourceOf(disk);
  if (
    source?.startsWith("/") === true &&
    !source.startsWith("/dev/") &&
    domains.context.disks.find(source) === undefined
  ) {
    const detail = `Cannot access storage file '${source}': No such file or directory`;
    throw new SimError(VIR_ERR_SYSTEM_ERROR, VIR_FROM_STORAGE, detail);
  }
  liveDisk(disk, lastIndex(devices), domains.context.disks);
}

function connect(domains: Domains, nic: Element): void {
  if (!["network", "bridge", "ethernet"].includes(nic.attributes.get("type") ?? "")) return;
  if (find(nic, "target") === undefined) nic.children.push(element("target", { dev: `vnet${domains.takeVnets(1)}` }));
}

export function detach(domains: Domains, domain: SimDomain, xml: string, flags: number): void {
  const wanted = readDevice(xml);
  remove(domains, domain, flags, (devices) => match(devices, wanted));
}

export function detachAlias(domains: Domains, domain: SimDomain, alias: string, flags: number): void {
  remove(domains, domain, flags, (devices) => {
    const found = elements(devices).find((each) => attributeOf(each, "alias", "name") === alias);
    if (found !== undefined) return found;
    throw new SimError(VIR_ERR_DEVICE_MISSING, VIR_FROM_QEMU, `no device found with alias ${alias}`);
  });
}

function remove(domains: Domains, domain: SimDomain, flags: number, choose: (devices: Element) => Element): void {
  const impact = impactOf(domain, flags);
  let alias = "";
  const take = (root: Element): void => {
    const devices = devicesOf(root);
    const found = choose(devices);
    alias = attributeOf(found, "alias", "name") ?? alias;
    devices.children.splice(devices.children.indexOf(found), 1);
  };
  if (impact.config) domain.editConfig(take);
  if (!impact.live) return;
  domain.editLive(take);
  domains.context.events.domain("deviceRemoved", { dom: domain.ref, devAlias: alias });
}

export function update(domains: Domains, domain: SimDomain, xml: string, flags: number): void {
  const impact = impactOf(domain, flags);
  const wanted = readDevice(xml);
  if (impact.config) {
    domain.editConfig((root) => {
      const devices = devicesOf(root);
      const present = diskWithin(devices, wanted, (target) => [VIR_ERR_INVALID_ARG, `target ${target} doesn't exist.`]);
      const next = clone(wanted);
      completeDevice(next, isQ35(root), domains.context.random);
      replaceDevice(devices, present, next);
      assignAddresses(root, devices);
      orderDomain(root);
    });
  }
  if (impact.live) updateLive(domains, domain, wanted);
}

function updateLive(domains: Domains, domain: SimDomain, wanted: Element): void {
  if (!["disk", "interface", "graphics"].includes(wanted.name))
    throw new SimError(
      VIR_ERR_OPERATION_UNSUPPORTED,
      VIR_FROM_QEMU,
      `live update of device '${wanted.name}' is not supported`,
    );
  let alias = "";
  let isMediumChanged = false;
  domain.editLive((root) => {
    const devices = devicesOf(root);
    const present = diskWithin(devices, wanted, (target) => [VIR_ERR_INTERNAL_ERROR, `disk '${target}' not found`]);
    alias = attributeOf(present, "alias", "name") ?? "";
    const next = clone(wanted);
    completeDevice(next, isQ35(root), domains.context.random);
    if (next.name === "disk") {
      isMediumChanged = sourceOf(present) !== sourceOf(next);
      refuseFixedDisk(present, isMediumChanged);
      if (isMediumChanged) openDisk(domains, next, devices);
    }
    replaceDevice(devices, present, next);
    orderDomain(root);
  });
  if (!isMediumChanged) return;
  const event = (reason: number): void =>
    domains.context.events.domain("trayChange", { dom: domain.ref, devAlias: alias, reason });
  event(0);
  event(1);
}

function refuseFixedDisk(present: Element, isMediumChanged: boolean): void {
  const kind = present.attributes.get("device") ?? "disk";
  if (!isMediumChanged || kind === "cdrom" || kind === "floppy") return;
  throw new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, `disk bus 'virtio' does not support changing of media`);
}

/** What the new description leaves out stays: its place, its name, and of a network card its device on the host. */
function replaceDevice(devices: Element, present: Element, next: Element): void {
  for (const name of ["alias", "address", ...(next.name === "interface" ? ["target"] : [])]) {
    const kept = find(present, name);
    if (find(next, name) === undefined && kept !== undefined) next.children.push(kept);
  }
  devices.children[devices.children.indexOf(present)] = next;
}

function devicesOf(root: Element): Element {
  return find(root, "devices") ?? element("devices");
}

function refuseTwin(devices: Element, added: Element): void {
  const target = attributeOf(added, "target", "dev");
  if (added.name !== "disk" || target === undefined) return;
  const other = elements(devices, "disk").find((each) => attributeOf(each, "target", "dev") === target);
  if (other !== undefined) throw duplicateTarget(target, other, added);
}

/** The device that a description means: a disk by its target, a network card by its MAC address, others by what they share. */
function match(devices: Element, wanted: Element): Element {
  const same = (each: Element, ...path: readonly string[]): boolean => {
    const value = attributeOf(wanted, ...path);
    return value === undefined || value.toLowerCase() === attributeOf(each, ...path)?.toLowerCase();
  };
  const all = elements(devices, wanted.name);
  const alias = attributeOf(wanted, "alias", "name");
  const byAlias = alias === undefined ? undefined : all.find((each) => attributeOf(each, "alias", "name") === alias);
  switch (wanted.name) {
    case "disk": {
      const target = attributeOf(wanted, "target", "dev");
      const disk = all.find((each) => target !== undefined && attributeOf(each, "target", "dev") === target);
      if (disk !== undefined) return disk;
      throw new SimError(VIR_ERR_DEVICE_MISSING, VIR_FROM_QEMU, `disk ${target ?? ""} not found`);
    }
    case "interface": {
      const mac = attributeOf(wanted, "mac", "address") ?? "";
      const cards = all.filter((each) => same(each, "mac", "address") && sameAddress(each, wanted));
      const [card] = cards;
      if (card !== undefined && cards.length === 1) return card;
      const detail = `no device matching MAC address ${mac} found`;
      throw new SimError(VIR_ERR_DEVICE_MISSING, VIR_FROM_QEMU, detail);
    }
    default: {
      const found = byAlias ?? all.find((each) => isAlike(each, wanted));
      if (found !== undefined) return found;
      throw new SimError(VIR_ERR_DEVICE_MISSING, VIR_FROM_QEMU, `matching ${wanted.name} device not found`);
    }
  }
}

/** As `match`; that there is no such disk is told as who updates one tells it. */
function diskWithin(devices: Element, wanted: Element, missing: (target: string) => [number, string]): Element {
  const target = attributeOf(wanted, "target", "dev") ?? "";
  const isThere = elements(devices, "disk").some((each) => attributeOf(each, "target", "dev") === target);
  if (wanted.name !== "disk" || isThere) return match(devices, wanted);
  const [code, detail] = missing(target);
  throw new SimError(code, VIR_FROM_QEMU, detail);
}

function sameAddress(each: Element, wanted: Element): boolean {
  const address = find(wanted, "address");
  if (address === undefined) return true;
  const other = find(each, "address");
  return [...address.attributes].every(
    ([key, value]) => other?.attributes.get(key) === value || key === "multifunction",
  );
}

/** All that the description says, but for names and places, is so. */
function isAlike(each: Element, wanted: Element): boolean {
  const attributes = [...wanted.attributes].every(([key, value]) => each.attributes.get(key) === value);
  const inner = elements(wanted)
    .filter(({ name }) => name !== "alias" && name !== "address")
    .every((child) => {
      const other = find(each, child.name);
      return (
        other !== undefined &&
        [...child.attributes].every(([key, value]) => key === "state" || other.attributes.get(key) === value)
      );
    });
  return attributes && inner && sameAddress(each, wanted);
}
