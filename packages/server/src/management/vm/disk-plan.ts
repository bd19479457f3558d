/**
 * What the disks of a request become on a host: for each its device, and where its content comes from. A plan is
 * JSON-safe and complete (pools, names, sizes are chosen), so that it survives a crash in an operation's first step.
 */
import path from "node:path/posix";
import { checkName } from "@innkeeper/contract/name.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Image } from "@innkeeper/contract/resource/image.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { VmDisk, VmDiskCreate } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import { defined } from "#core/defined.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { busOf, deviceOf, nextTarget } from "./disk-target.ts";
import { choosePool, requestedCapacity, requireRoom } from "./disk-pool.ts";
import { refuse } from "./field-check.ts";
import { isFilePool, pathOn, sharedPeer, sourceTypeIn } from "./storage-reach.ts";
import { diskVolumeName } from "./volume-name.ts";

interface NewVolume {
  readonly poolName: string;
  readonly volumeName: string;
  readonly sourceType: "file" | "block";
  readonly format: "raw" | "qcow2";
  readonly capacityBytes: number;
  /** Its name was asked for, so that what has it need not be ours. */
  readonly named?: true;
}

export interface CopySource {
  readonly poolName: string;
  readonly name: string;
  /** What it is used as: its content must not pass for another. */
  readonly format: string;
}

export type DiskOrigin =
  | { readonly kind: "empty" }
  | { readonly kind: "existing"; readonly path: string; readonly sourceType: string; readonly format: string }
  | ({ readonly kind: "new"; readonly preallocate?: true } & NewVolume)
  /** A full copy within the host; what is overlaid is flattened. */
  | ({ readonly kind: "copy"; readonly source: CopySource } & NewVolume)
  | ({ readonly kind: "overlay"; readonly backing: { readonly path: string; readonly format: string } } & NewVolume)
  /** A full copy from another host, through the control plane. */
  | ({
      readonly kind: "transfer";
      readonly source: { readonly hostId: string; readonly poolName: string; readonly name: string };
    } & NewVolume);

export interface DiskPlan {
  readonly disk: Omit<VmDisk, "source" | "sourceType" | "format" | "backingChain">;
  readonly origin: DiskOrigin;
  /** The drive is empty after the first start. */
  readonly ejectAfterInstall?: true;
}

interface DiskContext {
  readonly inventory: Inventory;
  readonly host: Host;
  readonly vm: { readonly id: string; readonly name: string };
  /** Where the disks are in the request: disks, disksAdd. */
  readonly field: string;
  /** Of the guest; decides the bus of a CD-ROM drive. */
  readonly machine: string | undefined;
  /** Devices that the VM has already. */
  readonly usedTargets: readonly string[];
  /** Makes a volume's name differ from those of earlier disks with the same device name. */
  readonly unique?: string;
}

/** Throws the first thing that is wrong, naming the field. Reads the inventory only. */
export function planDisks(context: DiskContext, requests: readonly VmDiskCreate[]): DiskPlan[] {
  const used = new Set([...context.usedTargets, ...requests.flatMap((each) => each.target ?? [])]);
  return requests.map((request, index) => {
    const field = `${context.field}[${index}]`;
    const device = deviceOf(request);
    const bus = busOf(request, context.machine);
    const target = request.target ?? nextTarget(bus, used);
    used.add(target);
    const origin = planOrigin(context, request, target, field);
    const { cache, io, ioThread, serialNumber, bootOrder, ioLimit } = request;
    const readOnly = request.readOnly ?? (device === "cdrom" ? true : undefined);
    const discard = request.discard ?? (device === "disk" ? true : undefined);
    const tuning = { cache, io, discard, ioThread, serialNumber, bootOrder, ioLimit, readOnly };
    const eject = request.ejectAfterInstall === true ? { ejectAfterInstall: true as const } : {};
    return { disk: { target, device, bus, ...defined(tuning) }, origin, ...eject };
  });
}

function planOrigin(context: DiskContext, request: VmDiskCreate, target: string, field: string): DiskOrigin {
  const isNew = request.volumeId === undefined && request.path === undefined && request.image === undefined;
  if (request.preallocate === true && (!isNew || request.capacityBytes === undefined)) {
    refuse(`${field}.preallocate`, "Only a new disk can take all of its space at once; it needs capacityBytes.");
  }
  if (request.volumeId !== undefined || request.path !== undefined) return planExisting(context, request, field);
  if (request.image !== undefined) return planFromImage(context, request, target, field);
  if (request.capacityBytes === undefined) return { kind: "empty" };
  const pool = choosePool(context, request, field, () => true);
  const format = request.format ?? (isFilePool(pool) ? "qcow2" : "raw");
  const capacityBytes = requestedCapacity(pool, request, field);
  const volume = newVolume(context, pool, target, format, capacityBytes);
  const isThick = request.preallocate === true;
  if (isThick) requireRoom(pool, capacityBytes, "a disk that takes all of its space", `${field}.preallocate`);
  const named = withName(context, pool, volume, request.volumeName, field);
  return { kind: "new", ...named, ...(isThick ? { preallocate: true } : {}) };
}

function newVolume(
  context: DiskContext,
  pool: StoragePool,
  target: string,
  format: "raw" | "qcow2",
  capacityBytes: number,
): NewVolume {
  const volumeName = diskVolumeName(context.vm, target, format, context.unique);
  return { poolName: pool.name, volumeName, sourceType: sourceTypeIn(pool), format, capacityBytes };
}

/** Under the name that is asked for; it must be no volume's. */
function withName(
  { inventory }: DiskContext,
  pool: StoragePool,
  volume: NewVolume,
  volumeName: string | undefined,
  field: string,
): NewVolume {
  if (volumeName === undefined) return volume;
  const wrong = checkName(volumeName);
  if (wrong !== undefined) refuse(`${field}.volumeName`, `The volume's name ${wrong}.`);
  if (inventory.by("volume", "poolId", pool.id).some((each) => each.name === volumeName)) {
    const remedy = "Choose another name, or use it as it is: give its path.";
    refuse(`${field}.volumeName`, `Pool ${pool.name} has a volume ${volumeName} already.`, "name_taken", remedy);
  }
  return { ...volume, volumeName, named: true };
}

/** The image as this host reaches it; undefined if only its own host does. */
function imageOn(
  inventory: Inventory,
  image: Image,
  host: Host,
): { readonly poolName: string; readonly path: string } | undefined {
  if (image.hostId === host.id) return { poolName: image.poolName, path: image.path };
  const pool = inventory.byHost("storage-pool", image.hostId).find((each) => each.name === image.poolName);
  const peer = pool === undefined ? undefined : sharedPeer(inventory, pool, host.id);
  const imagePath = pathOn(inventory, image.hostId, host.id, image.path);
  return peer === undefined || imagePath === undefined ? undefined : { poolName: peer.name, path: imagePath };
}

function planFromImage(context: DiskContext, request: VmDiskCreate, target: string, field: string): DiskOrigin {
  const { inventory, host } = context;
  const image = inventory.require("image", request.image ?? "", { field: `${field}.image` });
  const near = imageOn(inventory, image, host);
  if (deviceOf(request) !== "disk") {
    if (near === undefined) refuseFar(context, image, `${field}.image`, "A drive's medium");
    return { kind: "existing", path: near.path, sourceType: "file", format: "raw" };
  }
  const asked = request.capacityBytes;
  if (asked !== undefined && asked < image.capacityBytes) {
    const message = `Image ${image.name} needs ${image.capacityBytes} bytes; the disk must not be smaller than it.`;
    refuse(`${field}.capacityBytes`, message);
  }
  const grown = { ...request, capacityBytes: asked ?? image.capacityBytes };
  if (request.linked === true) {
    if (near === undefined) refuseFar(context, image, `${field}.linked`, "A linked disk");
    if (request.format === "raw") refuse(`${field}.format`, "A linked disk is always qcow2.");
    const pool = choosePool(context, request, field, isFilePool, near.poolName);
    const capacityBytes = requestedCapacity(pool, grown, field);
    const backing = { path: near.path, format: image.format === "qcow2" ? "qcow2" : "raw" };
    return { kind: "overlay", backing, ...newVolume(context, pool, target, "qcow2", capacityBytes) };
  }
  const pool = choosePool(context, request, field, () => true);
  const stored = inventory.byHost("volume", image.hostId).find((each) => each.path === image.path);
  requireRoom(pool, stored?.allocationBytes ?? 0, `a copy of image ${image.name}`, `${field}.image`);
  const capacityBytes = requestedCapacity(pool, grown, field);
  const format = request.format ?? (isFilePool(pool) ? "qcow2" : "raw");
  if (near !== undefined) {
    const source = { poolName: near.poolName, name: image.volumeName, format: image.format };
    return { kind: "copy", source, ...newVolume(context, pool, target, format, capacityBytes) };
  }
  return planTransfer(context, image, newVolume(context, pool, target, format, capacityBytes), field);
}

/** Bytes are sent as they are, so the copy has the image's format, and the image must be whole by itself. */
function planTransfer(context: DiskContext, image: Image, volume: NewVolume, field: string): DiskOrigin {
  const { inventory } = context;
  const stored = inventory.byHost("volume", image.hostId).find((each) => each.path === image.path);
  const imageHost = inventory.get("host", image.hostId);
  if (imageHost?.connectionState !== "connected") {
    const name = imageHost?.name ?? image.hostId;
    refuse(`${field}.image`, `Image ${image.name} is on host ${name}, which is not connected.`, "host_unreachable");
  }
  if (stored?.backingPath !== undefined) refuseFar(context, image, `${field}.image`, "A disk from an overlaid image");
  const format = image.format === "qcow2" ? "qcow2" : "raw";
  if (volume.format !== format) {
    const message = `Image ${image.name} is ${image.format} and comes from another host: the disk must be ${format}, too.`;
    refuse(`${field}.format`, message, "unsupported");
  }
  return {
    kind: "transfer",
    source: { hostId: image.hostId, poolName: image.poolName, name: image.volumeName },
    ...volume,
  };
}

function refuseFar({ inventory, host }: DiskContext, image: Image, field: string, what: string): never {
  const imageHost = inventory.get("host", image.hostId)?.name ?? image.hostId;
  refuse(
    field,
    `${what} must be reached by its host: image ${image.name} is on host ${imageHost} in pool ${image.poolName}, which host ${host.name} does not share.`,
    "unsupported",
    "Put the image into a shared pool or onto that host, or leave out linked.",
  );
}

function planExisting(context: DiskContext, request: VmDiskCreate, field: string): DiskOrigin {
  const { inventory, host } = context;
  const byId = request.volumeId !== undefined;
  const at = `${field}.${byId ? "volumeId" : "path"}`;
  const volume = byId ? inventory.require("volume", request.volumeId ?? "", { field: at }) : undefined;
  const volumePath =
    volume === undefined ? path.normalize(request.path ?? "") : pathOn(inventory, volume.hostId, host.id, volume.path);
  const known = inventory.byHost("volume", host.id).find((each) => each.path === volumePath);
  if (volumePath === undefined || known === undefined) {
    refuse(at, `Host ${host.name} has no volume ${volume?.name ?? request.path} in its storage pools.`, "not_found");
  }
  const pool = inventory.get("storage-pool", known.poolId);
  if (pool === undefined) throw new AppError("internal", `volume ${known.id} has no pool`);
  if (deviceOf(request) === "disk" && request.readOnly !== true) refuseUsed(context, known, at);
  const format = known.format === "iso" || known.format === "unknown" ? "raw" : known.format;
  if (format !== "raw" && format !== "qcow2") {
    const remedy = "Convert it first: qemu-img convert -O qcow2 FILE FILE.qcow2";
    refuse(at, `Volume ${known.name} is a ${format} disk; guests run from raw and qcow2.`, "unsupported", remedy);
  }
  refuseForeignLayers(context, known, at);
  return { kind: "existing", path: volumePath, sourceType: sourceTypeIn(pool), format };
}

/** What lies below a volume must be volumes, too: else the guest would be given any file of the host that a header names. */
function refuseForeignLayers({ inventory, host }: DiskContext, volume: Volume, field: string): void {
  const volumes = inventory.byHost("volume", host.id);
  const seen = new Set<string>();
  let layer: Volume | undefined = volume;
  while (layer?.backingPath !== undefined && !seen.has(layer.path)) {
    seen.add(layer.path);
    const below: string = layer.backingPath;
    layer = volumes.find((each) => each.path === below);
    if (layer !== undefined) continue;
    const message = `Volume ${volume.name} lies on ${below}, which is no volume of host ${host.name}'s pools.`;
    refuse(field, message, "invalid_field", "If that is right, put the file into a pool, or flatten the volume.");
  }
}

/** A volume that is written must not be anyone else's: a VM's, an image, or a layer that others lie on. */
function refuseUsed({ inventory, host }: DiskContext, volume: Volume, field: string): void {
  const here = (hostId: string, other: string): boolean => pathOn(inventory, hostId, host.id, other) === volume.path;
  const image = inventory.list("image").find((each) => here(each.hostId, each.path));
  if (image !== undefined) {
    const message = `Volume ${volume.name} is image ${image.name}, which is never written to.`;
    refuse(field, message, "conflict", `Use image: ${image.name} instead.`);
  }
  const vm = inventory
    .list("vm")
    .find((each) => each.spec.disks.some((disk) => disk.source !== undefined && here(each.hostId, disk.source)));
  if (vm !== undefined) refuse(field, `Volume ${volume.name} is a disk of VM ${vm.name}.`, "conflict");
  const above = inventory
    .list("volume")
    .find((each) => each.backingPath !== undefined && here(each.hostId, each.backingPath));
  if (above !== undefined) refuse(field, `Volume ${above.name} lies on volume ${volume.name}.`, "conflict");
  const snapshot = inventory.list("snapshot").find((each) => {
    const hostId = inventory.get("vm", each.vmId)?.hostId;
    return hostId !== undefined && each.disks.some((disk) => here(hostId, disk.path));
  });
  if (snapshot !== undefined) refuse(field, `Volume ${volume.name} is part of snapshot ${snapshot.name}.`, "conflict");
}
