/**
 * Marks in the folders of guests' state files, by which it is found out whether two hosts share them. Invariant: a mark
 * lives for a moment; what a crash left of one is taken away by the next.
 */
import path from "node:path/posix";
import { LibvirtError } from "@innkeeper/libvirt";
import type { CallOptions, Connection } from "@innkeeper/libvirt";
import { isLibvirtCode } from "#libvirt/error.ts";
import { formatXml } from "#libvirt/xml.ts";
import { deleteFileIn, fileXml, type Folder, inFolder } from "./folder-pool.ts";
import { stateRoot } from "./guest-state.ts";

const prefix = "innkeeper-mark-";
const underWay = new Set<string>();

export async function markState(
  connection: Connection,
  files: readonly string[],
  mark: string,
  options: CallOptions,
): Promise<string[]> {
  const name = `${prefix}${mark}`;
  underWay.add(name);
  const taken: string[] = [];
  for (const root of new Set(files.map(stateRoot))) {
    const isMade = await inFolder(connection, root, options, async (folder) => {
      await removeLeft(folder);
      return await make(folder, name);
    });
    if (isMade === false) taken.push(...files.filter((file) => stateRoot(file) === root));
  }
  return taken;
}

export async function unmarkState(
  connection: Connection,
  files: readonly string[],
  mark: string,
  options: CallOptions,
): Promise<void> {
  const name = `${prefix}${mark}`;
  underWay.delete(name);
  for (const root of new Set(files.map(stateRoot))) {
    await inFolder(connection, root, options, (folder) => deleteFileIn(folder, name));
  }
}

/** False if there is one of that name. */
async function make({ connection, pool, options }: Folder, name: string): Promise<boolean> {
  try {
    await connection.remote.storageVolCreateXml({ pool, xml: formatXml(fileXml(name, 0)), flags: 0 }, options);
    return true;
  } catch (error) {
    if (isLibvirtCode(error, "VIR_ERR_STORAGE_VOL_EXIST")) return false;
    // libvirt 9.0 storage_util.c createVol, of a file that its list of the folder did not have.
    if (error instanceof LibvirtError && /already exists/.test(error.message)) return false;
    throw error;
  }
}

async function removeLeft(folder: Folder): Promise<void> {
  const { connection, pool, options } = folder;
  const { vols } = await connection.remote.storagePoolListAllVolumes({ pool, needResults: 1, flags: 0 }, options);
  const left = vols.filter(({ name }) => name.startsWith(prefix) && !underWay.has(name));
  for (const { name } of left) await deleteFileIn(folder, path.basename(name));
}
