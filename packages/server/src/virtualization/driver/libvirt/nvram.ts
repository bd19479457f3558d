/**
 * UEFI variables, which libvirt keeps in a file per VM beside the XML: with them goes what the guest boots from. libvirt 9.0
 * names the file after the VM (qemuDomainNVRAMPathFormat), does not rename it with the VM, and gives a VM of a new name
 * empty variables, so we carry them along: by libvirt's own storage calls, through a pool that lives for the moment.
 * Invariant: a file that another VM's definition names, whatever it is called, is neither written nor deleted.
 */
import path from "node:path/posix";
import {
  type CallOptions,
  type Connection,
  type NonnullStorageVol,
  parseUri,
  VIR_DOMAIN_XML_INACTIVE,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isNotFound } from "#libvirt/error.ts";
import { orUndefined } from "#libvirt/lookup.ts";
import { formatXml } from "#libvirt/xml.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import { attribute, child, text } from "./domain-xml/element.ts";
import { deleteFileIn, fileXml, type Folder, hasFileIn, inFolder } from "./folder-pool.ts";
import { readFirmware } from "./domain-xml/firmware.ts";

/** Of the system's daemon (libvirt 9.0 virQEMUDriverConfigNew). */
export const nvramFolder = "/var/lib/libvirt/qemu/nvram";

/** Where a VM's variables are; undefined if it has none, or if its file is not libvirt's to name. */
export function nvramFile(connection: Connection, root: ReadElement): string | undefined {
  if (parseUri(connection.uri).driver !== "qemu" || parseUri(connection.uri).path !== "/system") return undefined;
  const name = text(child(root, "name"));
  if (readFirmware(root) === "bios" || name === undefined) return undefined;
  const isDefault = child(root, "os/nvram/source") === undefined && text(child(root, "os/nvram")) === undefined;
  return isDefault ? defaultNvramFile(name) : namedNvram(root);
}

/** What the definition itself names; from libvirt 8.5 on perhaps as a source, which on a network is no file of the host. */
export function namedNvram(root: ReadElement): string | undefined {
  const source = child(root, "os/nvram/source");
  if (source === undefined) return text(child(root, "os/nvram"));
  return attribute(source, "file") ?? attribute(source, "dev");
}

export function defaultNvramFile(name: string): string {
  return `${nvramFolder}/${name}_VARS.fd`;
}

/** The VM besides `uuid` whose variables a file holds. All are asked, but only if there is such a file. */
async function otherOwner(folder: Folder, file: string, uuid: string): Promise<string | undefined> {
  if (!(await hasFileIn(folder, path.basename(file)))) return undefined;
  return await userBesides(folder.connection, file, uuid, folder.options);
}

/** Whether the file is in libvirt's own folder and no other VM's: then it goes with the VM. */
export async function isOwnNvram(
  connection: Connection,
  file: string,
  uuid: string,
  options: CallOptions,
): Promise<boolean> {
  if (path.dirname(file) !== nvramFolder) return false;
  return (await userBesides(connection, file, uuid, options)) === undefined;
}

async function userBesides(
  connection: Connection,
  file: string,
  uuid: string,
  options: CallOptions,
): Promise<string | undefined> {
  const { remote } = connection;
  const { domains } = await remote.connectListAllDomains({ needResults: 1, flags: 0 }, options);
  for (const dom of domains.filter((each) => each.uuid !== uuid)) {
    const found = await remote
      .domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_INACTIVE }, options)
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    if (found !== undefined && nvramFile(connection, readXml(found.xml)) === file) return dom.name;
  }
  return undefined;
}

/** conflict if the file holds another VM's variables than `uuid`'s. */
export async function requireOwnNvram(folder: Folder, file: string, uuid: string): Promise<void> {
  const owner = await otherOwner(folder, file, uuid);
  if (owner === undefined) return;
  const message = `${file}, where the VM's firmware variables belong, holds those of VM ${owner} on that host. Nothing was changed.`;
  throw new AppError("conflict", message, {
    field: "name",
    remedy: `Give VM ${owner} a file of its own (virsh edit, <nvram>), or take another name.`,
  });
}

/** A copy for the VM of this name and UUID, in place of any stale one; conflict if that is another VM's. False if there is nothing to copy: it never ran. */
export async function copyNvram(
  connection: Connection,
  from: string,
  to: { readonly name: string; readonly uuid: string },
  options: CallOptions,
): Promise<boolean> {
  const place = path.dirname(from);
  const isCopied = await inFolder(connection, place, options, async (folder) => {
    const lookup = { pool: folder.pool, name: path.basename(from) };
    const found = await orUndefined(connection.remote.storageVolLookupByName(lookup, options));
    if (found === undefined) return false;
    const copy = (into: Folder): Promise<true> => copyInto(into, found.vol, to);
    return await (place === nvramFolder ? copy(folder) : inFolder(connection, nvramFolder, options, copy));
  });
  return isCopied ?? false;
}

async function copyInto(
  folder: Folder,
  clonevol: NonnullStorageVol,
  to: { readonly name: string; readonly uuid: string },
): Promise<true> {
  const { remote } = folder.connection;
  const { capacity } = await remote.storageVolGetInfo({ vol: clonevol }, folder.options);
  const file = defaultNvramFile(to.name);
  await requireOwnNvram(folder, file, to.uuid);
  await deleteFileIn(folder, path.basename(file));
  const xml = formatXml(fileXml(path.basename(file), capacity));
  await remote.storageVolCreateXmlFrom({ pool: folder.pool, xml, clonevol }, folder.options);
  return true;
}

/** Of the VM `uuid`. Fine if it is gone; what is another VM's, too, stays. */
export async function deleteNvram(connection: Connection, file: string, uuid: string, options: CallOptions) {
  await inFolder(connection, nvramFolder, options, async (folder) => {
    if ((await otherOwner(folder, file, uuid)) !== undefined) return;
    await deleteFileIn(folder, path.basename(file));
  });
}
