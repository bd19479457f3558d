/**
 * Complete XML of a domain (a snapshot's, another VM's) made into the definition of a guest: new name, identity, disks.
 * A disk that gets another source loses the <backingStore> of the old one, which libvirt would believe; those of all
 * other disks stay: where a layer's format is not in the layers themselves, only this element tells it.
 */
import type { Element } from "@xmldom/xmldom";
import type { GuestMetadata } from "#virtualization/port.ts";
import { AppError } from "#core/app-error.ts";
import { attribute, child, children, descendants, remove, setAttributes, setText, text } from "./element.ts";
import { diskByTarget, replaceSource } from "./disk.ts";
import { forgetNvram } from "./firmware.ts";
import { editMetadata, removeMetadata } from "./metadata.ts";
import { renewMacs } from "./nic.ts";

type DiskSources = ReadonlyMap<string, { readonly path: string; readonly format: string }>;

export interface Retarget {
  readonly name?: string;
  readonly uuid?: string;
  readonly disks?: DiskSources;
  readonly newMacs?: boolean;
  readonly metadata?: GuestMetadata;
  readonly secretsOf?: string;
}

export function retarget(root: Element, edits: Retarget): void {
  root.removeAttribute("id");
  if (edits.uuid !== undefined && edits.uuid !== text(child(root, "uuid"))) becomeAnother(root, edits.uuid);
  if (edits.name !== undefined) setText(root, "name", edits.name);
  if (edits.disks) replaceDisks(root, edits.disks);
  if (edits.newMacs === true) renewMacs(root);
  if (edits.metadata) editMetadata(root, edits.metadata);
  // Windows learns from a new generation id that its time went back (libvirt docs "genid").
  if (child(root, "genid")) setText(root, "genid", "");
}

/** Forgets the layers below each disk, and copies that were under way. */
export function dropChains(root: Element): void {
  for (const disk of children(child(root, "devices"), "disk")) {
    remove(child(disk, "backingStore"));
    remove(child(disk, "mirror"));
    const source = child(disk, "source");
    if (source) setAttributes(source, { index: undefined });
  }
}

export function replaceDisks(root: Element, disks: DiskSources): void {
  for (const [target, source] of disks) {
    const disk = diskByTarget(root, target);
    if (disk === undefined) throw new AppError("invalid_field", `The XML has no disk ${target}.`, { field: "disks" });
    replaceSource(disk, source.path, source.format);
  }
}

/** A copy has its own firmware variables, and no facts of Innkeeper's about the original. */
function becomeAnother(root: Element, uuid: string): void {
  setText(root, "uuid", uuid);
  forgetNvram(root);
  removeMetadata(root);
  for (const entry of descendants(root, "entry")) {
    // <sysinfo> must say the same UUID (libvirt virDomainDefParseXML).
    if (attribute(entry, "name") === "uuid" && entry.parentNode?.nodeName === "system") entry.textContent = uuid;
  }
}
