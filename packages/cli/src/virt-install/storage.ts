/**
 * What disks are made of, found out from the server: volumes that are there, pools that new ones go to. Facts on what
 * kind of source gets which tuning: virtinst/devices/disk.py set_defaults, 4.1.
 */
import { existsSync } from "node:fs";
import path from "node:path/posix";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import { type CliError, tableError, valueError } from "#cli-error.ts";
import type { XmlElement } from "./element.ts";
import { refuse } from "./sub-option.ts";
import type { DiskWish } from "./wish.ts";

type Disk = NonNullable<VmCreate["disks"]>[number];

export interface StoredPool {
  readonly name: string;
  readonly type: string;
  readonly path?: string;
}
export interface StoredVolume {
  readonly path: string;
  readonly format: string;
  readonly pool: StoredPool;
}

/** The storage of the hosts that the VM can go to. */
export interface Storage {
  volumeAt(path: string): Promise<StoredVolume | undefined>;
  volumeIn(pool: string, name: string): Promise<StoredVolume | undefined>;
  /** Of any pool; what several hosts share is one. */
  volumesNamed(name: string): Promise<readonly StoredVolume[]>;
  pools(): Promise<readonly StoredPool[]>;
  /** The name of the image whose volume has this path. */
  imageAt(path: string): Promise<string | undefined>;
  hasImage(name: string): Promise<boolean>;
}

const bytesPerGiB = 1024 ** 3;
/** Pools whose volumes are block devices (libvirt's storage drivers). */
const blockPools: readonly string[] = ["logical", "disk", "iscsi", "scsi", "mpath", "zfs"];

/** `remarks` gets what is taken otherwise than it may have been meant. */
export async function resolveDisk(wish: DiskWish, storage: Storage, remarks: string[]): Promise<Disk> {
  const { element } = wish;
  const target = element.find("target")?.attributes;
  const content = await contentOf(wish, storage, remarks);
  return {
    device: (element.attributes.get("device") ?? "disk") as NonNullable<Disk["device"]>,
    bus: busOf(target?.get("bus")),
    ...(target?.has("dev") === true && { target: target.get("dev") ?? "" }),
    ...(element.find("readonly") !== undefined && { readOnly: true }),
    ...(wish.ejected === true && { ejectAfterInstall: true }),
    ...content,
  };
}

function busOf(bus: string | undefined): NonNullable<Disk["bus"]> {
  const buses = ["virtio", "scsi", "sata", "usb", "ide", "fdc"] as const;
  const found = buses.find((each) => each === bus);
  if (found !== undefined) return found;
  throw refuse("--disk", `--disk bus=${bus ?? ""} is not supported: there are ${buses.join(", ")}.`);
}

async function contentOf(wish: DiskWish, storage: Storage, remarks: string[]): Promise<Partial<Disk>> {
  const { option } = wish;
  if (wish.volume !== undefined) return await volumeContent(wish, wish.volume, storage, remarks);
  if (wish.path !== undefined) {
    const volume = await storage.volumeAt(wish.path);
    if (volume !== undefined) {
      if (wish.sizeGiB !== undefined)
        remarks.push(`${wish.path} is there already: it is used as it is, size says nothing.`);
      return existing(wish, volume);
    }
    if (wish.sizeGiB === undefined && wish.backing === undefined) {
      const image = option === "--cdrom" ? await imageOfFile(path.basename(wish.path), storage) : undefined;
      if (image === undefined) throw missing(option, wish.path);
      remarks.push(`No host has ${wish.path} in its storage pools: image ${image} is taken.`);
      return { image };
    }
    return await newVolume(wish, await poolOfFolder(wish.path, storage), path.basename(wish.path), storage);
  }
  if (wish.sizeGiB === undefined && wish.backing === undefined) {
    if (wish.pool === undefined) return {};
    throw refuse(
      option,
      `${option} "${wish.text}" says no size.`,
      "Say size=GIB, or vol=POOL/NAME for a volume that is there.",
    );
  }
  return await newVolume(wish, await chosenPool(wish.pool, storage), undefined, storage);
}

async function volumeContent(
  wish: DiskWish,
  name: string,
  storage: Storage,
  remarks: string[],
): Promise<Partial<Disk>> {
  const { option } = wish;
  const [pool = "", volume] = name.split("/");
  if (volume !== undefined) {
    const found = await storage.volumeIn(pool, volume);
    if (found !== undefined) return existing(wish, found);
    throw missing(wish.option, name);
  }
  const named = await storage.volumesNamed(name);
  if (named.length > 1 && !(await storage.hasImage(name))) {
    const places = named.map((each) => `${each.pool.name}/${name}`).join(", ");
    throw refuse(wish.option, `"${name}" could be: ${places}.`, "Say which: POOL/NAME, or its path on the host.");
  }
  const image = await imageOfFile(name, storage, named.length > 0);
  if (image !== undefined) {
    const other = named.map((each) => ` and not volume ${each.pool.name}/${name}`).join(",");
    if (image !== name || other !== "") remarks.push(`${option} ${name}: image ${image} is taken${other}.`);
    return { image };
  }
  if (named[0] !== undefined) return existing(wish, named[0]);
  const remedy =
    "Hosts read media from their storage pools: name it POOL/NAME or by its path on the host. A file of this machine is uploaded first: inn image upload FILE.";
  throw tableError("not_found", `There is no image "${name}".`, { field: wish.option, remedy });
}

/** By its name, or by that of the file, as `inn image upload` calls it. */
async function imageOfFile(file: string, storage: Storage, isExact = false): Promise<string | undefined> {
  const names = isExact ? [file] : [file, path.parse(file).name];
  for (const name of names) if (await storage.hasImage(name)) return name;
  return undefined;
}

function missing(option: string, what: string): CliError {
  const folder = path.dirname(what);
  const pool = `make a pool of its folder on the host: inn pool create NAME --type dir --path ${folder} --host HOST`;
  const isHere = what.startsWith("/") && existsSync(what);
  const then = option === "--disk" ? " and say vol=POOL/VOLUME (inn image show tells both)" : "";
  const upload = `${isHere ? "This machine has it: upload" : "Upload"} it with inn image upload ${what} --pool POOL${then}`;
  const remedy = option === "--disk" && !isHere ? "Say size=GIB for a new disk, or" : `${upload}; or`;
  const field = option;
  return tableError("not_found", `No host has a volume ${what} in its storage pools.`, {
    field,
    remedy: `${remedy} ${pool}.`,
  });
}

function existing(wish: DiskWish, volume: StoredVolume): Partial<Disk> {
  const format = ["iso", "unknown"].includes(volume.format) ? "raw" : volume.format;
  const expected = wish.expectedFormat ?? wish.format;
  if (expected !== undefined && expected !== format) {
    throw valueError(wish.option, `${volume.path} is ${format}, not ${expected}.`);
  }
  if (blockPools.includes(volume.pool.type)) tuneBlock(wish.element);
  return { path: volume.path };
}

async function poolOfFolder(file: string, storage: Storage): Promise<StoredPool> {
  const folder = path.dirname(file);
  const pool = (await storage.pools()).find((each) => each.path !== undefined && path.normalize(each.path) === folder);
  if (pool !== undefined) return pool;
  throw tableError("not_found", `No storage pool has the folder ${folder}.`, {
    field: "--disk",
    remedy: `Make one: inn pool create NAME --type dir --path ${folder} --host HOST. Or say pool=NAME,size=GIB.`,
  });
}

/** Without a name `default`, as in virt-install, where there is one; else the server chooses. */
async function chosenPool(name: string | undefined, storage: Storage): Promise<StoredPool | undefined> {
  const pools = await storage.pools();
  const found = pools.find((pool) => pool.name === (name ?? "default"));
  if (found !== undefined || name === undefined) return found;
  const names = [...new Set(pools.map((pool) => pool.name))].join(", ") || "none";
  throw tableError("not_found", `There is no storage pool ${name}; there are: ${names}.`, { field: "--disk" });
}

async function newVolume(
  wish: DiskWish,
  pool: StoredPool | undefined,
  volumeName: string | undefined,
  storage: Storage,
): Promise<Partial<Disk>> {
  const isBlock = pool !== undefined && blockPools.includes(pool.type);
  if (isBlock) tuneBlock(wish.element);
  else if (wish.preallocate !== true) tuneNew(wish.element);
  const capacity = wish.sizeGiB === undefined ? {} : { capacityBytes: Math.round(wish.sizeGiB * bytesPerGiB) };
  const common = { ...(pool !== undefined && { pool: pool.name }), ...capacity };
  if (wish.backing !== undefined) {
    if (volumeName !== undefined) {
      throw refuse(
        "--disk",
        "--disk backing_store can't go with a path: overlays are named by Innkeeper.",
        "Say pool=NAME.",
      );
    }
    return { ...common, image: await imageAt(wish.backing, storage), linked: true };
  }
  const format = wish.format ?? wish.expectedFormat;
  return {
    ...common,
    ...((format === "raw" || format === "qcow2") && { format }),
    ...(volumeName !== undefined && { volumeName }),
    ...(wish.preallocate === true && { preallocate: true }),
  };
}

async function imageAt(backing: string, storage: Storage): Promise<string> {
  const image = await storage.imageAt(backing);
  if (image !== undefined) return image;
  throw tableError("not_found", `${backing} is no image.`, {
    field: "--disk",
    remedy: "What VMs lie on must never change: make it an image first, with inn image create.",
  });
}

function set(element: XmlElement, name: string, value: string): void {
  const { attributes } = element.ensure("driver");
  if (!attributes.has(name)) attributes.set(name, value);
}

function tuneNew(element: XmlElement): void {
  if (element.attributes.get("device") === "disk") set(element, "discard", "unmap");
}

/** The host's page cache and threads only slow a block device down. */
function tuneBlock(element: XmlElement): void {
  if (element.attributes.get("device") !== "disk") return;
  set(element, "cache", "none");
  set(element, "io", "native");
  set(element, "discard", "unmap");
}
