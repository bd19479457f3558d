/**
 * What a host keeps of a guest beside its definition, and libvirt takes along only while the guest runs: UEFI variables
 * (/var/lib/libvirt/qemu/nvram) and the state of an emulated TPM (/var/lib/libvirt/swtpm/<uuid>/tpm2; libvirt 9.0
 * qemu_tpm.c, which hands the files to the emulator's user at each start). Invariant: nothing is written or deleted
 * beside a guest that the host has, and nothing outside of these two folders.
 */
import path from "node:path/posix";
import { type CallOptions, type Connection, LibvirtError } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isNotFound } from "#libvirt/error.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { GuestStateFile } from "#virtualization/migration/port.ts";
import { deleteFileIn, hasFileIn, inFolder, readFileIn, removeFolder, writeFileIn } from "./folder-pool.ts";
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

/** conflict if the host keeps something already where a new guest's variables or TPM state belong. */
export async function requireFreshState(
  connection: Connection,
  uuid: string,
  root: ReadElement,
  options: CallOptions,
): Promise<void> {
  await requireFresh(connection, uuid, stateFilesOf(connection, uuid, root), options);
}

export async function requireFresh(
  connection: Connection,
  uuid: string,
  files: readonly string[],
  options: CallOptions,
): Promise<void> {
  for (const file of files) {
    const isNvram = path.dirname(file) === nvramFolder;
    const isThere = await inFolder(connection, path.dirname(file), options, async (folder) => {
      if (isNvram) await requireOwnNvram(folder, file, uuid);
      return await hasFileIn(folder, path.basename(file));
    });
    if (isThere === true) throw isNvram ? nvramTaken(file) : tpmTaken(file);
  }
}

function nvramTaken(file: string): AppError {
  const message = `${file}, where the VM's firmware variables belong, is there already, and no VM of that host names it: it may be what stayed of a deleted one. Nothing was changed.`;
  return new AppError("conflict", message, {
    field: "name",
    remedy:
      "Take another name, or move the file to another folder of the host (and back before the VM is first started, if the VM is to go on with it).",
  });
}

function tpmTaken(file: string): AppError {
  const message = `${file}, where the state of the VM's TPM belongs, is there already: it may be what stayed of a deleted VM of that UUID. Nothing was changed.`;
  return new AppError("conflict", message, {
    field: "uuid",
    remedy:
      "Take another UUID, or move the file to another folder of the host (and back before the VM is first started, if the VM is to go on with it).",
  });
}

/** Those that there are. Of a folder that can't be looked into it is not known: they are answered, too. */
export async function filesThere(
  connection: Connection,
  files: readonly string[],
  options: CallOptions,
): Promise<string[]> {
  const there: string[] = [];
  for (const file of files) {
    const found = await inFolder(connection, path.dirname(file), options, (folder) =>
      hasFileIn(folder, path.basename(file)),
    ).catch((error: unknown) => {
      if (!(error instanceof LibvirtError)) throw error;
      return true;
    });
    if (found === true) there.push(file);
  }
  return there;
}

/** The folder that hosts may share: of all guests' variables, or of all TPMs. */
export function stateRoot(file: string): string {
  return path.dirname(file) === nvramFolder ? nvramFolder : tpmFolder;
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
