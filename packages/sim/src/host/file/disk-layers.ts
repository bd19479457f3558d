// Disks that are stacks of layers: new layers on top, layers merged into others. Of what a guest wrote, only how much it
// was is known: merging adds that up, to the disk's size at most.
import { FileError } from "./file-error.ts";
import { type Owner, SimFile } from "./file.ts";
import type { HostFiles } from "./host-files.ts";
import { newImage } from "./image.ts";

export interface Layer {
  readonly path: string;
  readonly format: string;
}

const CHAIN_MAX = 200;
/** As QEMU creates images, and libvirt hands them to QEMU's user. */
const LAYER_OWNER: Owner = { mode: 0o600, uid: 64_055, gid: 64_055 };

/** The layers below one, the nearest first. */
export function layersBelow(files: HostFiles, path: string): Layer[] {
  const layers: Layer[] = [];
  for (let at: string | undefined = path; at !== undefined && layers.length < CHAIN_MAX;) {
    const file = files.find(at);
    const backing: { readonly path: string; readonly format?: string } | undefined =
      file instanceof SimFile ? file.image.backing : undefined;
    if (backing !== undefined) layers.push({ path: backing.path, format: backing.format ?? "raw" });
    at = backing?.path;
  }
  return layers;
}

/** Throws EEXIST, ENOENT, ENOSPC. */
export function addLayer(files: HostFiles, path: string, below: Layer): void {
  const capacityBytes = files.file(below.path).capacityBytes;
  files.createImage(path, LAYER_OWNER, newImage("qcow2", capacityBytes, below));
}

/** How much a guest has written into the layers from one down to another, which is left out. */
export function dataBytes(files: HostFiles, top: string, base: string | undefined): number {
  const paths = [top, ...layersBelow(files, top).map((layer) => layer.path)];
  const end = base === undefined ? paths.length : paths.indexOf(base);
  return paths.slice(0, end === -1 ? paths.length : end).reduce((sum, path) => sum + files.file(path).guestBytes, 0);
}

/** The data of the layers from `top` down to `base` is in `base`; the layers stay as they are. */
export function commitInto(files: HostFiles, top: string, base: string, nowMs: number): void {
  const target = files.file(base);
  const { capacityBytes } = files.file(top);
  if (target.capacityBytes < capacityBytes) target.resize(capacityBytes, nowMs);
  target.growGuestData(dataBytes(files, top, base), nowMs);
}

/** All data below comes into the layer, down to `base`, which is then the next below. */
export function pullInto(files: HostFiles, path: string, base: Layer | undefined, nowMs: number): void {
  const file = files.file(path);
  const below = layersBelow(files, path)[0];
  if (below === undefined) return;
  const bytes = dataBytes(files, below.path, base?.path);
  file.rebase(base, nowMs);
  file.growGuestData(bytes, nowMs);
}

/** The layer above `top` stands on `base` from now on. */
export function relink(files: HostFiles, above: string, base: Layer, nowMs: number): void {
  files.file(above).rebase(base, nowMs);
}

export interface CopyTarget extends Layer {
  /** The file is there, and is written over. */
  readonly isReused: boolean;
  /** The layers below are not copied: the copy stands on the same. */
  readonly isShallow: boolean;
}

export function beginCopy(files: HostFiles, from: string, { path, format, isReused, isShallow }: CopyTarget): void {
  const { capacityBytes } = files.file(from);
  const below = isShallow ? layersBelow(files, from)[0] : undefined;
  if (isReused) {
    if (!(files.find(path) instanceof SimFile)) throw new FileError("ENOENT");
    return;
  }
  if (format === "raw") files.createRaw(path, LAYER_OWNER, capacityBytes);
  else files.createImage(path, LAYER_OWNER, newImage(format, capacityBytes, below));
}

export function finishCopy(files: HostFiles, from: string, { path, isShallow }: CopyTarget, nowMs: number): void {
  const below = isShallow ? layersBelow(files, from)[0]?.path : undefined;
  files.file(path).growGuestData(dataBytes(files, from, below), nowMs);
}

/** A guest's memory, or a device's state: so many bytes that nobody reads. */
export function writeOpaque(files: HostFiles, path: string, bytes: number): void {
  if (files.find(path) instanceof SimFile) files.remove(path);
  files.createRaw(path, LAYER_OWNER, bytes, bytes);
}
