/**
 * A change of a guest, applied to a document. Invariant: only what the change names is edited; a change that can't be
 * meant (an unknown disk, a taken target) is refused with the field before the document is used for anything.
 */
import type { Element } from "@xmldom/xmldom";
import { AppError } from "#core/app-error.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { addedDisk, addedNic } from "./added-device.ts";
import { setBootOrder } from "./boot-order.ts";
import { editCpu } from "./cpu.ts";
import { diskByTarget, editIoLimit, replaceSource, setSource } from "./disk.ts";
import { add, append, attribute, child, children, ensure, remove } from "./element.ts";
import { editHardware } from "./hardware.ts";
import { editMemory } from "./memory.ts";
import { editMetadata } from "./metadata.ts";
import { nicByMac, setLink, setNetwork } from "./nic.ts";

type DiskChange = NonNullable<GuestChange["disksChange"]>[number];
type NicChange = NonNullable<GuestChange["nicsChange"]>[number];

export function applyChange(root: Element, change: GuestChange): void {
  if (change.cpu) editCpu(root, change.cpu);
  if (change.memory) editMemory(root, change.memory);
  for (const target of change.disksRemove ?? []) remove(diskOf(root, target, "disksRemove"));
  for (const mac of change.nicsRemove ?? []) remove(nicOf(root, mac, "nicsRemove"));
  for (const disk of change.disksAdd ?? []) {
    if (diskByTarget(root, disk.target)) {
      throw new AppError("invalid_field", `The VM has a disk ${disk.target} already.`, { field: "disksAdd" });
    }
    if (disk.bus === "scsi") ensureScsiController(root);
    const element = append(ensure(root, "devices"), addedDisk(root, disk, change));
    if (disk.bootOrder !== undefined) orderBoot(root, element, disk.bootOrder);
  }
  for (const nic of change.nicsAdd ?? []) {
    if (nicByMac(root, nic.mac)) {
      throw new AppError("invalid_field", `The VM has a NIC with address ${nic.mac} already.`, { field: "nicsAdd" });
    }
    const element = append(ensure(root, "devices"), addedNic(root, nic, change));
    if (nic.bootOrder !== undefined) orderBoot(root, element, nic.bootOrder);
  }
  for (const disk of change.disksChange ?? []) changeDisk(root, disk);
  for (const nic of change.nicsChange ?? []) changeNic(root, nic);
  if (change.hardware) {
    const { autostart: _autostart, ...hardware } = change.hardware;
    editHardware(root, hardware);
  }
  if (change.metadata) editMetadata(root, change.metadata);
}

export function diskOf(root: Element, target: string, field: string): Element {
  const disk = diskByTarget(root, target);
  if (disk === undefined) throw new AppError("invalid_field", `The VM has no disk ${target}.`, { field });
  return disk;
}

export function nicOf(root: Element, mac: string, field: string): Element {
  const nic = nicByMac(root, mac);
  if (nic === undefined) throw new AppError("invalid_field", `The VM has no NIC with address ${mac}.`, { field });
  return nic;
}

/** A device that came with its own order makes room for it. */
function orderBoot(root: Element, device: Element, order: number): void {
  remove(child(device, "boot"));
  setBootOrder(root, device, order);
}

export function hasScsiController(root: Element): boolean {
  return children(child(root, "devices"), "controller").some((each) => attribute(each, "type") === "scsi");
}

/** libvirt would add an LSI controller, which few guests have a driver for. */
function ensureScsiController(root: Element): void {
  if (!hasScsiController(root)) add(ensure(root, "devices"), "controller", { type: "scsi", model: "virtio-scsi" });
}

function changeDisk(root: Element, change: DiskChange): void {
  const disk = diskOf(root, change.target, "disksChange");
  if (change.source !== undefined) changeMedium(disk, change.source);
  if (change.ioLimit !== undefined) editIoLimit(disk, change.ioLimit);
  if (change.bootOrder !== undefined) setBootOrder(root, disk, change.bootOrder);
}

/** Inserts or (null) ejects a medium. */
export function changeMedium(disk: Element, source: string | null): void {
  const device = attribute(disk, "device") ?? "disk";
  if (device !== "cdrom" && device !== "floppy") {
    const message = `Disk ${attribute(child(disk, "target"), "dev")} is no drive whose medium can be changed.`;
    throw new AppError("invalid_field", message, { field: "disksChange.source" });
  }
  if (source === null) setSource(disk, undefined);
  else replaceSource(disk, source, "raw");
}

function changeNic(root: Element, change: NicChange): void {
  const nic = nicOf(root, change.mac, "nicsChange");
  if (change.linkUp !== undefined) setLink(nic, change.linkUp);
  if (change.network !== undefined) setNetwork(nic, change.network);
}
