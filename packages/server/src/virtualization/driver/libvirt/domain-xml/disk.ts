/**
 * <disk> elements. Facts: libvirt 9.0 docs/formatdomain.rst "Hard drives, floppy disks, CDROMs". Encryption, geometry,
 * addresses, authentication and every other thing that is not modelled stays where it is.
 */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import { foundDiskDevices, type IoLimit, type VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { defined } from "#core/defined.ts";
import {
  add,
  attribute,
  child,
  children,
  create,
  ensure,
  remove,
  removeIfEmpty,
  setAttributes,
  setText,
} from "./element.ts";
import { text, wholeNumber } from "./element.ts";
import { pciAddress } from "./other-hardware.ts";

/** Our field, libvirt's element in <iotune>; also the names of domainSetBlockIoTune's parameters. */
export const ioTuneName = {
  totalBytesPerSecond: "total_bytes_sec",
  readBytesPerSecond: "read_bytes_sec",
  writeBytesPerSecond: "write_bytes_sec",
  totalIops: "total_iops_sec",
  readIops: "read_iops_sec",
  writeIops: "write_iops_sec",
} as const satisfies Record<keyof IoLimit, string>;
const ioLimitFields = Object.keys(ioTuneName) as (keyof IoLimit)[];

const caches = ["default", "none", "writethrough", "writeback", "directsync", "unsafe"] as const;
const ioModes = ["threads", "native", "io_uring"] as const;

export function readDisks(root: ReadElement): VmDisk[] {
  return children(child(root, "devices"), "disk").map(readDisk);
}

export function diskByTarget<E extends ReadElement>(root: E, target: string): E | undefined {
  return children(child(root, "devices"), "disk").find((disk) => attribute(child(disk, "target"), "dev") === target);
}

function readDisk(disk: ReadElement): VmDisk {
  const target = child(disk, "target");
  const driver = child(disk, "driver");
  const device = attribute(disk, "device");
  const backingChain = readBackingChain(disk);
  const ioLimit = readIoLimit(disk);
  const source = sourceText(disk);
  const optional = {
    source,
    // An empty drive has no format; libvirt names one in the definition only.
    format: source === undefined && device !== "disk" ? undefined : attribute(driver, "type"),
    backingChain: backingChain.length > 0 ? backingChain : undefined,
    cache: caches.find((cache) => cache === attribute(driver, "cache")),
    io: ioModes.find((mode) => mode === attribute(driver, "io")),
    discard: readDiscard(driver),
    ioThread: wholeNumber(attribute(driver, "iothread")),
    serialNumber: text(child(disk, "serial")),
    bootOrder: wholeNumber(attribute(child(disk, "boot"), "order")),
    ioLimit,
    readOnly: device !== "cdrom" && child(disk, "readonly") !== undefined ? true : undefined,
    shareable: child(disk, "shareable") === undefined ? undefined : true,
    transient: child(disk, "transient") === undefined ? undefined : true,
    // Of a running guest libvirt shows it within <source>, of a definition where it was written.
    encryption: attribute(child(disk, "encryption") ?? child(disk, "source/encryption"), "format"),
  };
  return {
    target: attribute(target, "dev") ?? "",
    device: foundDiskDevices.find((each) => each === device) ?? "disk",
    bus: attribute(target, "bus") ?? "",
    sourceType: attribute(disk, "type") ?? "file",
    ...defined(optional),
  };
}

function readDiscard(driver: ReadElement | undefined): boolean | undefined {
  const discard = attribute(driver, "discard");
  return discard === undefined ? undefined : discard === "unmap";
}

/** Path, pool/volume, or URL of what a <disk>, <mirror> or <backingStore> with a <source> points to. */
export function sourceText(owner: ReadElement): string | undefined {
  const source = child(owner, "source");
  if (source === undefined) return undefined;
  const type = attribute(owner, "type") ?? "file";
  if (type === "volume") return join(attribute(source, "pool"), attribute(source, "volume"));
  if (type === "network") return networkUrl(source);
  if (type === "nvme") return nvmeUrl(source);
  return attribute(source, "file") ?? attribute(source, "dev") ?? attribute(source, "dir") ?? attribute(source, "path");
}

function join(pool: string | undefined, volume: string | undefined): string | undefined {
  return pool === undefined || volume === undefined ? undefined : `${pool}/${volume}`;
}

/** As QEMU names it (block/nvme.c): nvme://0000:06:00.0/1 */
function nvmeUrl(source: ReadElement): string {
  return `nvme://${pciAddress(child(source, "address")) ?? ""}/${attribute(source, "namespace") ?? ""}`;
}

function networkUrl(source: ReadElement): string {
  const hosts = children(source, "host").map((host) => {
    const port = attribute(host, "port");
    const name = attribute(host, "name") ?? attribute(host, "socket") ?? "";
    return `${name.includes(":") ? `[${name}]` : name}${port === undefined ? "" : `:${port}`}`;
  });
  const name = attribute(source, "name") ?? "";
  return `${attribute(source, "protocol") ?? "network"}://${hosts.join(",")}/${name.replace(/^\//, "")}`;
}

/** The layers below, nearest first; ends at the first that libvirt does not show. */
export function readBackingChain(disk: ReadElement): string[] {
  const chain: string[] = [];
  for (let layer = child(disk, "backingStore"); layer !== undefined; layer = child(layer, "backingStore")) {
    const source = sourceText(layer);
    if (source === undefined) break;
    chain.push(source);
  }
  return chain;
}

function readIoLimit(disk: ReadElement): IoLimit | undefined {
  const tune = child(disk, "iotune");
  const limit: IoLimit = {};
  for (const field of ioLimitFields) {
    const value = wholeNumber(text(child(tune, ioTuneName[field])));
    if (value !== undefined && value > 0) limit[field] = value;
  }
  return Object.keys(limit).length > 0 ? limit : undefined;
}

/** A new <disk>, not yet in the document. */
export function diskElement(near: Element, disk: VmDisk): Element {
  const element = create(near, "disk", { type: disk.sourceType, device: disk.device });
  const isDisk = disk.device === "disk";
  add(element, "driver", {
    name: near.getAttribute("type") === "test" ? undefined : "qemu",
    type: disk.format ?? "raw",
    cache: disk.cache === "default" ? undefined : disk.cache,
    io: disk.io,
    discard: isDisk ? ((disk.discard ?? true) ? "unmap" : "ignore") : undefined,
    iothread: disk.ioThread,
  });
  setSource(element, disk.source);
  add(element, "target", { dev: disk.target, bus: disk.bus });
  if (disk.serialNumber !== undefined) add(element, "serial", {}, disk.serialNumber);
  if (disk.bootOrder !== undefined) add(element, "boot", { order: disk.bootOrder });
  if (disk.ioLimit !== undefined) editIoLimit(element, disk.ioLimit);
  if (disk.device === "cdrom" || disk.readOnly === true) add(element, "readonly");
  if (disk.shareable === true) add(element, "shareable");
  if (disk.transient === true) add(element, "transient");
  return element;
}

/** Points a disk to another source of its type; undefined leaves an empty drive. The chain below is libvirt's to find. */
export function setSource(disk: Element, source: string | undefined): void {
  remove(child(disk, "backingStore"));
  remove(child(disk, "mirror"));
  if (source === undefined) {
    remove(child(disk, "source"));
    return;
  }
  const element = ensure(disk, "source");
  setAttributes(element, { index: undefined, startupPolicy: undefined });
  switch (attribute(disk, "type") ?? "file") {
    case "block":
      return setAttributes(element, { dev: source });
    case "dir":
      return setAttributes(element, { dir: source });
    case "volume": {
      const [pool, ...volume] = source.split("/");
      return setAttributes(element, { pool, volume: volume.join("/") });
    }
    case "network":
      return setNetworkSource(element, source);
    default:
      return setAttributes(element, { file: source });
  }
}

function setNetworkSource(element: Element, source: string): void {
  const match = /^([a-z+]+):\/\/([^/]*)\/(.*)$/.exec(source);
  const [, protocol, authority = "", name] = match ?? [];
  if (protocol === undefined) {
    throw new AppError("invalid_field", `"${source}" is not a URL of a network disk.`, { field: "disks.source" });
  }
  for (const host of children(element, "host")) remove(host);
  setAttributes(element, { protocol, name });
  for (const host of authority.split(",").filter((part) => part !== "")) {
    const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]*))(?::([0-9]+))?$/.exec(host) ?? [];
    add(element, "host", { name: bracketed ?? plain, port });
  }
}

/** Points a disk to a file: what a snapshot, clone or revert does. */
export function replaceSource(disk: Element, path: string, format: string): void {
  if (attribute(disk, "device") === "lun") {
    const target = attribute(child(disk, "target"), "dev") ?? "";
    throw new AppError("unsupported", `Disk ${target} is a passed-through LUN, which can't be another image.`, {
      field: "disks",
    });
  }
  remove(child(disk, "source"));
  setAttributes(disk, { type: path.startsWith("/dev/") ? "block" : "file" });
  setSource(disk, path);
  if (child(disk, "driver") !== undefined || format !== "raw") {
    const driver = ensure(disk, "driver");
    setAttributes(driver, { name: attribute(driver, "name") ?? "qemu", type: format });
  }
}

/** The limits that are given replace all; 0 or absent is no limit. Bursts and groups stay. */
export function editIoLimit(disk: Element, limit: IoLimit): void {
  checkIoLimit(limit);
  const tune = ensure(disk, "iotune");
  for (const field of ioLimitFields) setText(tune, ioTuneName[field], limit[field] || undefined);
  removeIfEmpty(tune);
}

/** libvirt refuses a total together with a read or write limit (qemuDomainSetBlockIoTune). */
function checkIoLimit(limit: IoLimit): void {
  const bytes = limit.totalBytesPerSecond && (limit.readBytesPerSecond || limit.writeBytesPerSecond);
  const iops = limit.totalIops && (limit.readIops || limit.writeIops);
  if (bytes || iops) {
    const message = "a total limit can't be combined with a read or write limit of the same kind.";
    throw new AppError("invalid_field", message, { field: "disks.ioLimit" });
  }
}
