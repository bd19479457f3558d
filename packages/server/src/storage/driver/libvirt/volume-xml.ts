/** Volumes between libvirt's XML (https://libvirt.org/formatstorage.html#storage-volume-xml, libvirt 9.0) and the port. */
import { normalize } from "node:path/posix";
import { checkName } from "@innkeeper/contract/name.ts";
import { type VolumeFormat, volumeFormats, volumeMaxBytes } from "@innkeeper/contract/resource/volume.ts";
import { AppError } from "#core/app-error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { attribute, formatXml, sizeBytes, text, xml } from "#libvirt/xml.ts";
import type { HostVolume, VolumeDefinition } from "#storage/port.ts";

export function readVolumeXml(xmlText: string, poolName: string): HostVolume {
  const root = readXml(xmlText);
  const format = attribute(root, "target/format", "type");
  // A layer that names the one below relative to itself: libvirt joins the two as they are.
  const below = text(root, "backingStore/path");
  const backingPath = below?.startsWith("/") === true ? normalize(below) : below;
  return {
    poolName,
    name: text(root, "name") ?? "",
    path: text(root, "target/path") ?? text(root, "key") ?? "",
    // Only pools of files have a format; block devices and RBD images are raw.
    format: format === undefined ? "raw" : knownFormat(format),
    capacityBytes: sizeBytes(root, "capacity", "bytes") ?? 0,
    allocationBytes: sizeBytes(root, "allocation", "bytes") ?? 0,
    ...(backingPath === undefined ? {} : { backingPath }),
  };
}

/** Seconds since 1970, with nanoseconds. */
export function readWriteTime(xmlText: string): string | undefined {
  return text(readXml(xmlText), "target/timestamps/mtime");
}

function knownFormat(format: string): VolumeFormat {
  return volumeFormats.find((known) => known === format) ?? "unknown";
}

/** XML of a volume to create. invalid_field when name or size can't be used. */
export function volumeXml(volume: VolumeDefinition): string {
  checkVolumeName(volume.name);
  const { capacityBytes, backing } = volume;
  if (!Number.isSafeInteger(capacityBytes) || capacityBytes < 1 || capacityBytes > volumeMaxBytes) {
    throw new AppError("invalid_field", `capacityBytes must be a whole number from 1 to ${volumeMaxBytes}.`, {
      field: "capacityBytes",
    });
  }
  return formatXml(
    xml(
      "volume",
      {},
      xml("name", {}, volume.name),
      xml("capacity", { unit: "bytes" }, String(capacityBytes)),
      xml("allocation", { unit: "bytes" }, String(volume.preallocate === true ? capacityBytes : 0)),
      xml("target", {}, xml("format", { type: volume.format })),
      backing === undefined
        ? undefined
        : xml("backingStore", {}, xml("path", {}, backing.path), xml("format", { type: backing.format })),
    ),
  );
}

/** A volume's name is a file name in most pools: what a path could be made of is refused. */
export function checkVolumeName(name: string): void {
  const wrong = checkName(name);
  if (wrong !== undefined) throw new AppError("invalid_field", `The volume's name ${wrong}.`, { field: "name" });
}
