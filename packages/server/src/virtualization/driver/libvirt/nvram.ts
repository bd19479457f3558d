/**
 * UEFI variables, which libvirt keeps in a file per VM beside the XML: with them goes what the guest boots from. libvirt 9.0
 * names the file after the VM (qemuDomainNVRAMPathFormat), does not rename it with the VM, and gives a VM of a new name
 * empty variables, so we carry them along: by libvirt's own storage calls, through a pool that lives for the moment.
 */
import path from "node:path/posix";
import { type CallOptions, type Connection, parseUri } from "@innkeeper/libvirt";
import { isNotFound } from "#libvirt/error.ts";
import { formatXml } from "#libvirt/xml.ts";
import type { ReadElement } from "#libvirt/read-xml.ts";
import { child, text } from "./domain-xml/element.ts";
import { deleteFileIn, fileXml, inFolder } from "./folder-pool.ts";
import { readFirmware } from "./domain-xml/firmware.ts";

/** Of the system's daemon (libvirt 9.0 virQEMUDriverConfigNew). */
export const nvramFolder = "/var/lib/libvirt/qemu/nvram";

/** Where a VM's variables are; undefined if it has none, or if its file is not libvirt's to name. */
export function nvramFile(connection: Connection, root: ReadElement): string | undefined {
  if (parseUri(connection.uri).driver !== "qemu" || parseUri(connection.uri).path !== "/system") return undefined;
  const name = text(child(root, "name"));
  if (readFirmware(root) === "bios" || name === undefined) return undefined;
  return text(child(root, "os/nvram")) ?? defaultNvramFile(name);
}

export function defaultNvramFile(name: string): string {
  return `${nvramFolder}/${name}_VARS.fd`;
}

/** A copy for the VM of this name, in place of any stale one. False if there is nothing to copy: it never ran. */
export async function copyNvram(
  connection: Connection,
  from: string,
  toName: string,
  options: CallOptions,
): Promise<boolean> {
  if (path.dirname(from) !== nvramFolder) return false;
  const { remote } = connection;
  const isCopied = await inFolder(connection, nvramFolder, options, async (folder) => {
    try {
      const { vol } = await remote.storageVolLookupByName({ pool: folder.pool, name: path.basename(from) }, options);
      const { capacity } = await remote.storageVolGetInfo({ vol }, options);
      const name = path.basename(defaultNvramFile(toName));
      await deleteFileIn(folder, name);
      const description = formatXml(fileXml(name, capacity));
      await remote.storageVolCreateXmlFrom({ pool: folder.pool, xml: description, clonevol: vol }, options);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  });
  return isCopied ?? false;
}

/** Fine if it is gone. */
export async function deleteNvram(connection: Connection, file: string, options: CallOptions): Promise<void> {
  await inFolder(connection, nvramFolder, options, (folder) =>
    deleteFileIn(folder, file.slice(nvramFolder.length + 1)),
  );
}
