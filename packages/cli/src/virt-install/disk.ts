/**
 * --disk and --cdrom: an element for the guest's side, a wish for the storage's side. Where the content comes from is
 * found out later, from the server. Facts: virtinst/cli.py ParserDisk, virtinst/devices/disk.py (4.1).
 */
import { valueError } from "#cli-error.ts";
import { applyBootOrder } from "./boot-order.ts";
import { XmlElement } from "./element.ts";
import type { Guest } from "./guest.ts";
import { deviceOptions } from "./option/device.ts";
import { refusalReason } from "./refusal.ts";
import { applySubOptions, type Given, onOff, parseSubOptions, refuse } from "./sub-option.ts";
import type { DiskWish } from "./wish.ts";

const none = deviceOptions["--disk"];

export function addDisk(guest: Guest, text: string): void {
  if (text === "none") return;
  const table = none?.table ?? [];
  const given = parseSubOptions("--disk", text, table, ["path"]);
  const element = new XmlElement("disk", { device: deviceOf(given) });
  applyPermissions(element, given);
  applySubOptions("--disk", element, given, table);
  guest.devices.children.push(element);
  applyBootOrder(guest, "--disk", element, given);
  guest.disks.push(wishOf(element, text, given));
}

/** The installer's: before any other CD-ROM, so that it is the one that is booted from. */
export function addCdrom(guest: Guest, text: string, ejected: boolean): void {
  const element = new XmlElement("disk", { device: "cdrom" });
  const wish: DiskWish = { element, text, option: "--cdrom", ...contentOf(text), ejected };
  const index = guest.disks.findIndex((disk) => disk.element.attributes.get("device") === "cdrom");
  const before = guest.disks[index];
  if (before === undefined) {
    guest.disks.push(wish);
    guest.devices.children.push(element);
    return;
  }
  guest.disks.splice(index, 0, wish);
  guest.devices.children.splice(guest.devices.children.indexOf(before.element), 0, element);
}

/** The drive for cloud-init's seed, which is made last. */
export function addSeedDrive(guest: Guest): void {
  const element = new XmlElement("disk", { device: "cdrom" });
  guest.devices.children.push(element);
  guest.disks.push({ element, text: "", option: "--cloud-init", ejected: true });
}

/** An absolute path, or `pool/volume`. */
function contentOf(text: string): Pick<DiskWish, "path" | "volume"> {
  if (text.startsWith("/")) return { path: text };
  if (/^[a-z+]+:\/\//.test(text)) {
    const remedy = "Upload it first: inn image upload --help.";
    throw refuse("--cdrom", `"${text}" is a URL; hosts read media from their storage pools.`, remedy);
  }
  return { volume: text };
}

function deviceOf(given: Given): string {
  const device = given.get("device") ?? "disk";
  if (["disk", "cdrom", "floppy"].includes(device)) return device;
  throw refuse("--disk", `--disk device=${device} is not supported: ${refusalReason("!device")}`);
}

function applyPermissions(element: XmlElement, given: Given): void {
  const permissions = given.get("perms");
  if (permissions === undefined || permissions === "rw") return;
  if (permissions === "ro") element.ensure("readonly");
  else if (permissions === "sh") element.ensure("shareable");
  else throw valueError("--disk", `perms must be rw, ro or sh, not "${permissions}".`);
}

function wishOf(element: XmlElement, text: string, given: Given): DiskWish {
  const wish: DiskWish = {
    element,
    text,
    option: "--disk",
    ...sourceOf(given),
    ...sizeOf(given),
    ...formatOf(given),
    ...(!onOff("--disk", "sparse", given.get("sparse") ?? "yes") && { preallocate: true }),
    ...optional("pool", given.get("pool")),
    ...optional("backing", given.get("backing_store")),
    ...optional("expectedFormat", given.get("driver.type") ?? given.get("driver_type")),
  };
  const isDrive = element.attributes.get("device") !== "disk";
  const isNew = wish.sizeGiB !== undefined || wish.pool !== undefined || wish.backing !== undefined;
  if (wish.path === undefined && wish.volume === undefined && !isNew && !isDrive) {
    throw refuse(
      "--disk",
      `--disk "${text}" says neither what it is nor how large.`,
      "Say size=GIB, a path, or vol=POOL/NAME.",
    );
  }
  return wish;
}

function sourceOf(given: Given): Pick<DiskWish, "path" | "volume"> {
  const type = given.get("type");
  if (type !== undefined && !["file", "block", "volume"].includes(type)) {
    throw refuse("--disk", `--disk type=${type} is not supported: ${refusalReason("!remoteDisk")}`);
  }
  const pool = given.get("source.pool") ?? given.get("source_pool");
  const volume = given.get("source.volume") ?? given.get("source_volume");
  if (pool !== undefined && volume !== undefined) return { volume: `${pool}/${volume}` };
  const named = given.get("vol");
  if (named !== undefined) {
    if (named.split("/").length !== 2) throw valueError("--disk", `vol must be POOL/NAME, not "${named}".`);
    return { volume: named };
  }
  const path = given.get("path") ?? given.get("source.file") ?? given.get("source.dev");
  if (path === undefined || path === "") return {};
  if (path.startsWith("/")) return { path };
  if (path.split("/").length === 2) return { volume: path };
  const remedy = "Give the path on the host, or POOL/NAME; a file of this machine is uploaded with inn image upload.";
  throw refuse("--disk", `"${path}" is neither a path on a host nor a volume.`, remedy);
}

function sizeOf(given: Given): Pick<DiskWish, "sizeGiB"> {
  const text = given.get("size");
  if (text === undefined) return {};
  const sizeGiB = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (sizeGiB <= 0) throw valueError("--disk", `size must be a number of GiB above 0, not "${text}".`);
  return { sizeGiB };
}

function formatOf(given: Given): Pick<DiskWish, "format"> {
  const format = given.get("format");
  if (format === undefined) return {};
  if (format === "raw" || format === "qcow2") return { format };
  throw refuse("--disk", `--disk format=${format} is not supported: new disks are raw or qcow2.`);
}

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: string });
}
