// A disk of a domain gets another image: in the running guest, and in its definition where that has the same disk.
import { sourceOf } from "#host/domain/facts.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { Layer } from "#host/file/disk-layers.ts";
import { attributeOf, element, type Element, elements, find, replaceChild } from "#xml/element.ts";

export function diskOf(domain: Element, target: string): Element | undefined {
  return elements(find(domain, "devices"), "disk").find((disk) => attributeOf(disk, "target", "dev") === target);
}

/** By target, or by the path of its image (virDomainDiskByName). */
export function diskNamed(domain: Element, name: string): Element | undefined {
  return diskOf(domain, name) ?? elements(find(domain, "devices"), "disk").find((disk) => sourceOf(disk) === name);
}

export function setSource(disk: Element, { path, format }: Layer): void {
  const isBlock = path.startsWith("/dev/");
  disk.attributes.set("type", isBlock ? "block" : "file");
  find(disk, "driver")?.attributes.set("type", format);
  const source = element("source", isBlock ? { dev: path } : { file: path });
  const before = find(disk, "source");
  if (before === undefined) disk.children.push(source);
  else disk.children[disk.children.indexOf(before)] = source;
  // Found anew by whoever shows the running guest.
  replaceChild(disk, "backingStore", undefined);
}

/** @param from the image that is replaced: a definition that has another keeps that. */
export function switchDisk(domain: SimDomain, target: string, from: string, layer: Layer): void {
  const edit = (root: Element): void => {
    const disk = diskOf(root, target);
    if (disk !== undefined && sourceOf(disk) === from) setSource(disk, layer);
  };
  const isInConfig = domain.config.facts().disks.some((disk) => disk.target === target && disk.source === from);
  // The definition first: it would else be taken for what runs.
  if (isInConfig && domain.isPersistent) domain.editConfig(edit);
  if (domain.isActive) domain.editLive(edit);
}
