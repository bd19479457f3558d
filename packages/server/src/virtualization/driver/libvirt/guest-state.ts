/**
 * What a host keeps of a guest beside its definition, and libvirt takes along only while the guest runs: UEFI variables
 * (/var/lib/libvirt/qemu/nvram) and the state of an emulated TPM (/var/lib/libvirt/swtpm/<uuid>/tpm2; libvirt 9.0
 * qemu_tpm.c, which hands the files to the emulator's user at each start). Invariant: nothing is written or deleted
 * beside a guest that the host has, and nothing outside of these two folders.
 */
import path from "node:path/posix";
import type { Connection } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isNotFound } from "#libvirt/error.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { GuestStateFile } from "#virtualization/migration/port.ts";
import { deleteFileIn, inFolder, readFileIn, removeFolder, writeFileIn } from "./folder-pool.ts";
import { attribute, child } from "./domain-xml/element.ts";
import { deleteNvram, nvramFile, nvramFolder, requireOwnNvram } from "./nvram.ts";
import type { DomainCall } from "./driver-context.ts";

const tpmFolder = "/var/lib/libvirt/swtpm";
/** 64 MiB is what ARM's UEFI has (edk2 ArmVirtPkg). */
const fileMaxBytes = 96 * 1024 ** 2;

/** Where its host keeps, or may keep, such files. */
export function stateFilesOf(connection: Connection, uuid: string, root: ReadElement): string[] {
  const nvram = nvramFile(connection, root);
  return [...(nvram !== undefined && path.dirname(nvram) === nvramFolder ? [nvram] : []), ...tpmFiles(uuid, root)];
}

export function tpmFiles(uuid: string, root: ReadElement): string[] {
  const tpm = child(root, "devices/tpm");
  return tpm === undefined ? [] : [tpmFile(uuid, attribute(child(tpm, "backend"), "version"))];
}

/** swtpm's permanent state; what else it writes is gone when it stops (swtpm(8)). */
function tpmFile(uuid: string, version = "2.0"): string {
  const folder = `${tpmFolder}/${uuid}`;
  return version === "1.2" ? `${folder}/tpm1.2/tpm-00.permall` : `${folder}/tpm2/tpm2-00.permall`;
}

export async function readState({ connection, remote, dom, options }: DomainCall): Promise<GuestStateFile[]> {
  const { active } = await remote.domainIsActive({ dom }, options);
  if (active === 1) throw new AppError("invalid_state", "The VM runs: its state goes along with it.");
  const root = readXml((await remote.domainGetXmlDesc({ dom }, options)).xml);
  const files: GuestStateFile[] = [];
  for (const file of stateFilesOf(connection, dom.uuid, root)) {
    const bytes = await inFolder(connection, path.dirname(file), options, (folder) =>
      readFileIn(folder, path.basename(file), fileMaxBytes),
    );
    if (bytes !== undefined) files.push({ path: file, bytes });
  }
  return files;
}

export async function writeState(
  { connection, remote, dom, options }: DomainCall,
  files: readonly GuestStateFile[],
): Promise<void> {
  await refuseIfPresent({ remote, dom, options });
  for (const { path: file, bytes } of files) {
    checkPlace(dom.uuid, file);
    const write = inFolder(
      connection,
      path.dirname(file),
      options,
      async (folder) => {
        if (path.dirname(file) === nvramFolder) await requireOwnNvram(folder, file, dom.uuid);
        await writeFileIn(folder, path.basename(file), bytes);
      },
      true,
    );
    await write;
  }
}

export async function deleteState(
  { connection, remote, dom, options }: DomainCall,
  paths: readonly string[],
): Promise<void> {
  if (paths.length === 0) return;
  await refuseIfPresent({ remote, dom, options });
  for (const file of paths) {
    checkPlace(dom.uuid, file);
    if (path.dirname(file) === nvramFolder) await deleteNvram(connection, file, dom.uuid, options);
    else await inFolder(connection, path.dirname(file), options, (folder) => deleteFileIn(folder, path.basename(file)));
  }
  const folders = new Set(
    paths.map((file) => path.dirname(file)).filter((folder) => folder.startsWith(`${tpmFolder}/`)),
  );
  for (const folder of folders) {
    await removeFolder(connection, folder, options);
    await removeFolder(connection, path.dirname(folder), options);
  }
}

async function refuseIfPresent({
  remote,
  dom,
  options,
}: Pick<DomainCall, "remote" | "dom" | "options">): Promise<void> {
  const present = await remote.domainLookupByUuid({ uuid: dom.uuid }, options).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
  if (present) throw new AppError("conflict", "The host has this VM: what it keeps for it is not touched.");
}

function checkPlace(uuid: string, file: string): void {
  const folder = path.dirname(path.normalize(file));
  if (folder === nvramFolder || path.dirname(folder) === `${tpmFolder}/${uuid}`) return;
  throw new AppError("internal", `${file} is no place for a VM's state.`);
}
