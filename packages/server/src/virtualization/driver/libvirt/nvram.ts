/**
 * UEFI variables, which libvirt keeps in a file per VM beside the XML: with them goes what the guest boots from. libvirt 9.0
 * names the file after the VM (qemuDomainNVRAMPathFormat), does not rename it with the VM, and gives a VM of a new name
 * empty variables, so we carry them along: by libvirt's own storage calls, through a pool that lives for the moment.
 */
import { type CallOptions, type Connection, type NonnullStoragePool, parseUri } from "@innkeeper/libvirt";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { type Element, formatXml, xml } from "#libvirt/xml.ts";
import { child, text } from "./domain-xml/element.ts";
import { readFirmware } from "./domain-xml/firmware.ts";

/** Of the system's daemon (libvirt 9.0 virQEMUDriverConfigNew). */
const folder = "/var/lib/libvirt/qemu/nvram";
const poolAttempts = 5;

/** Where a VM's variables are; undefined if it has none, or if its file is not libvirt's to name. */
export function nvramFile(connection: Connection, root: Element): string | undefined {
  if (parseUri(connection.uri).driver !== "qemu" || parseUri(connection.uri).path !== "/system") return undefined;
  const name = text(child(root, "name"));
  if (readFirmware(root) === "bios" || name === undefined) return undefined;
  return text(child(root, "os/nvram")) ?? defaultNvramFile(name);
}

export function defaultNvramFile(name: string): string {
  return `${folder}/${name}_VARS.fd`;
}

/** A copy for the VM of this name, in place of any stale one. False if there is nothing to copy: it never ran. */
export async function copyNvram(
  connection: Connection,
  from: string,
  toName: string,
  options: CallOptions,
): Promise<boolean> {
  if (!from.startsWith(`${folder}/`)) return false;
  const { remote } = connection;
  return await withPool(connection, options, async (pool) => {
    try {
      const { vol } = await remote.storageVolLookupByPath({ path: from }, options);
      const { capacity } = await remote.storageVolGetInfo({ vol }, options);
      await deleteNvramIn(connection, pool, defaultNvramFile(toName), options);
      const permissions = xml("permissions", {}, xml("mode", {}, "0600"));
      const volume = xml(
        "volume",
        {},
        xml("name", {}, `${toName}_VARS.fd`),
        xml("capacity", { unit: "bytes" }, String(capacity)),
        xml("target", {}, xml("format", { type: "raw" }), permissions),
      );
      await remote.storageVolCreateXmlFrom({ pool, xml: formatXml(volume), clonevol: vol }, options);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  });
}

/** Fine if it is gone. */
export async function deleteNvram(connection: Connection, file: string, options: CallOptions): Promise<void> {
  await withPool(connection, options, (pool) => deleteNvramIn(connection, pool, file, options));
}

async function deleteNvramIn(
  { remote }: Connection,
  pool: NonnullStoragePool,
  file: string,
  options: CallOptions,
): Promise<void> {
  try {
    const { vol } = await remote.storageVolLookupByName({ pool, name: file.slice(folder.length + 1) }, options);
    await remote.storageVolDelete({ vol }, options);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** A pool that others have there is used; our own is transient and goes when the work is done. */
async function withPool<T>(
  { remote }: Connection,
  options: CallOptions,
  work: (pool: NonnullStoragePool) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const present = await remote.storagePoolLookupByTargetPath({ path: folder }, options).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
    if (present) {
      await remote.storagePoolRefresh({ pool: present.pool }, options);
      return await work(present.pool);
    }
    const name = `innkeeper-nvram-${crypto.randomUUID()}`;
    const description = formatXml(
      xml("pool", { type: "dir" }, xml("name", {}, name), xml("target", {}, xml("path", {}, folder))),
    );
    const made = await remote.storagePoolCreateXml({ xml: description }, options).catch((error: unknown) => {
      // Someone else's pool came between.
      if (attempt >= poolAttempts || !isLibvirtCode(error, "VIR_ERR_OPERATION_FAILED")) throw error;
    });
    if (!made) continue;
    try {
      return await work(made.pool);
    } finally {
      await remote.storagePoolDestroy({ pool: made.pool }, { ...options, signal: AbortSignal.timeout(10_000) });
    }
  }
}
