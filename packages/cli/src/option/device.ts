/** `--disk` and `--network`: one device each, in virt-install's manner. */
import type { VmDiskCreate, VmNicCreate, IoLimit } from "@innkeeper/contract/resource/vm-spec.ts";
import { parseSizeBytes } from "@innkeeper/contract/unit.ts";
import { valueError } from "#cli-error.ts";
import { diskBytesOf } from "#invocation.ts";
import { isIdOf } from "#lookup.ts";
import { anyGiven, given } from "#option/given.ts";
import { Pairs } from "#option/pairs.ts";

// The allowed words of contract/resource/vm-spec.ts; a test compares them with its schema.
export const diskWords = {
  bus: ["virtio", "scsi", "sata", "usb", "ide", "fdc"],
  device: ["disk", "cdrom", "floppy"],
  format: ["qcow2", "raw"],
  cache: ["default", "none", "writethrough", "writeback", "directsync", "unsafe"],
  io: ["threads", "native", "io_uring"],
} as const;

const limitKeys = [
  "bytes-per-second",
  "read-bytes-per-second",
  "write-bytes-per-second",
  "iops",
  "read-iops",
  "write-iops",
] as const;

const plainKeys =
  "size preallocate pool image linked bus format device path volume target cache io discard iothread serial boot readonly";
const diskKeys: readonly string[] = [...plainKeys.split(" "), ...limitKeys];

export const diskHelp = `A disk (--disk, --add-disk) is key=value pairs with commas between:
  size=20G              a new disk of this size (a bare number is GiB); with image: grown to it
  image=NAME[,linked]   made from an image: a copy, or with "linked" an overlay on it
  volume=VOLUME         a volume that exists; path=/FILE the same by its path on the host
  pool=NAME             where to make it (default: the roomiest pool that fits)
  preallocate           take all of its space at once (thick); without it, as it is written
  format=qcow2|raw      bus=virtio|scsi|sata|usb|ide   device=disk|cdrom   target=vdb
  cache=none|writeback|…   io=native|threads|io_uring   iothread=1   discard=yes|no
  serial=TEXT   boot=1   readonly
  iops=, read-iops=, write-iops=, bytes-per-second=, read-…, write-…    limits`;

/** `volumeIdOf` finds a volume by name. */
export async function diskOf(
  option: string,
  text: string,
  volumeIdOf: (name: string) => Promise<VmDiskCreate["volumeId"]>,
): Promise<VmDiskCreate> {
  const pairs = new Pairs(option, text, diskKeys, "size");
  const size = pairs.text("size");
  const volume = pairs.text("volume");
  const disk: VmDiskCreate = given({
    target: pairs.text("target"),
    device: pairs.oneOf("device", diskWords.device),
    bus: pairs.oneOf("bus", diskWords.bus),
    pool: pairs.text("pool"),
    capacityBytes: size === undefined ? undefined : diskBytesOf(size, option),
    format: pairs.oneOf("format", diskWords.format),
    preallocate: pairs.flag("preallocate"),
    image: pairs.text("image"),
    linked: pairs.flag("linked"),
    volumeId: volume === undefined ? undefined : await volumeIdOf(volume),
    path: pairs.text("path"),
    cache: pairs.oneOf("cache", diskWords.cache),
    io: pairs.oneOf("io", diskWords.io),
    discard: pairs.flag("discard"),
    ioThread: pairs.integer("iothread"),
    serialNumber: pairs.text("serial"),
    bootOrder: pairs.integer("boot"),
    ioLimit: ioLimitOf(pairs),
    readOnly: pairs.flag("readonly"),
  });
  checkSource(option, disk);
  return disk;
}

function checkSource(option: string, disk: VmDiskCreate): void {
  const sources = [disk.image, disk.volumeId, disk.path].filter((source) => source !== undefined);
  if (sources.length > 1) throw valueError(option, "image, volume and path exclude one another");
  const isNew = disk.capacityBytes !== undefined && disk.image === undefined;
  if (isNew && sources.length > 0) throw valueError(option, "size is for a new disk or one from an image");
  const isDrive = disk.device === "cdrom" || disk.device === "floppy";
  if (sources.length === 0 && !isNew && !isDrive) {
    throw valueError(option, "one of size, image, volume and path is needed");
  }
  if (disk.linked === true && disk.image === undefined) throw valueError(option, "linked needs an image");
}

function ioLimitOf(pairs: Pairs): IoLimit | undefined {
  const rate = (key: (typeof limitKeys)[number]): number | undefined => {
    const text = pairs.text(key);
    const value = text === undefined ? undefined : parseSizeBytes(text);
    if (text !== undefined && value === undefined) throw pairs.error(key, `is no number: "${text}"`);
    return value;
  };
  return anyGiven({
    totalBytesPerSecond: rate("bytes-per-second"),
    readBytesPerSecond: rate("read-bytes-per-second"),
    writeBytesPerSecond: rate("write-bytes-per-second"),
    totalIops: rate("iops"),
    readIops: rate("read-iops"),
    writeIops: rate("write-iops"),
  });
}

/** Changes of a disk that is there: `vda,size=40G`, `vda,iops=500`, `sda,eject`, `sda,path=/iso/x.iso`. */
export interface DiskChange {
  readonly target: string;
  readonly capacityBytes?: number;
  readonly ioLimit?: IoLimit;
  readonly bootOrder?: number;
  readonly source?: string | null;
}

export function diskChangeOf(option: string, text: string): DiskChange {
  const pairs = new Pairs(option, text, ["target", "size", "boot", "path", "eject", ...limitKeys], "target");
  const target = pairs.text("target");
  if (target === undefined) throw valueError(option, "it begins with the disk's target", "As in vda,size=40G.");
  const size = pairs.text("size");
  const source = pairs.flag("eject") === true ? null : pairs.text("path");
  const change = given({
    capacityBytes: size === undefined ? undefined : diskBytesOf(size, option),
    ioLimit: ioLimitOf(pairs),
    bootOrder: pairs.integer("boot"),
    source,
  });
  if (Object.keys(change).length === 0) throw valueError(option, `it says nothing to change of ${target}`);
  return { target, ...change };
}

const nicKeys = ["network", "bridge", "mac", "model", "link", "boot"] as const;
export const nicModels = ["virtio", "e1000e", "e1000", "rtl8139"] as const;

export const nicHelp = `A network card (--network, --add-nic) is a network's name, with commas after it:
  default[,model=virtio|e1000e|e1000|rtl8139][,mac=52:54:00:…][,link=down][,boot=2]
  bridge=br0            a bridge of the host instead of a libvirt network`;

export function nicOf(option: string, text: string): VmNicCreate {
  const pairs = new Pairs(option, text, nicKeys, "network");
  const network = pairs.text("network");
  const bridge = pairs.text("bridge");
  if ((network === undefined) === (bridge === undefined))
    throw valueError(option, "either a network or a bridge is needed");
  const link = pairs.oneOf("link", ["up", "down"]);
  return given({
    network,
    bridge,
    mac: pairs.text("mac"),
    model: pairs.oneOf("model", nicModels),
    linkUp: link === undefined ? undefined : link === "up",
    bootOrder: pairs.integer("boot"),
  });
}

/** A volume's id, given as it is or found by name. */
export function isVolumeId(text: string): text is NonNullable<VmDiskCreate["volumeId"]> {
  return isIdOf("volume", text);
}
