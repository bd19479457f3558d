/**
 * Domain XML for a host whose libvirt is older than the XML is written for. libvirt checks a definition against the
 * schema of its own release, so what that release does not know must not be there.
 */
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import { child, remove } from "./element.ts";

/** <os><firmware><feature>: libvirt 7.2 (docs/formatdomain.rst "BIOS bootloader"). */
const firmwareFeatureVersion = 7_002_000n;

/**
 * Without the features, an older libvirt goes by <loader secure> and <smm> alone: the images that need System Management
 * Mode are those with secure boot, and of them the one with enrolled keys comes first (docs/interop/firmware.json of
 * QEMU; the descriptors of Debian 11 and RHEL 8).
 */
export function forLibvirt(xml: string, libvirtVersion: bigint): string {
  if (libvirtVersion >= firmwareFeatureVersion) return xml;
  const root = parseXml(xml);
  const firmware = child(child(root, "os"), "firmware");
  if (firmware === undefined) return xml;
  remove(firmware);
  return serializeXml(root);
}
