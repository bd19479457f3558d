/** Definitions come and go: from a spec, from complete XML, renamed, forgotten. */
import {
  type CallOptions,
  type Connection,
  LibvirtError,
  VIR_DOMAIN_DEFINE_VALIDATE,
  VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA,
  VIR_DOMAIN_UNDEFINE_KEEP_NVRAM,
  VIR_DOMAIN_UNDEFINE_KEEP_TPM,
  VIR_DOMAIN_UNDEFINE_MANAGED_SAVE,
  VIR_DOMAIN_UNDEFINE_NVRAM,
  VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA,
  VIR_DOMAIN_UNDEFINE_TPM,
  VIR_DOMAIN_XML_INACTIVE,
  VIR_DOMAIN_XML_SECURE,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { type Element, parseXml, serializeXml } from "#libvirt/xml.ts";
import type { DefinitionWitness, Guest, GuestCopy, GuestDefinition } from "#virtualization/port.ts";
import { checkName, renderDefinition } from "./check.ts";
import { definitionXml, type DomainCall, domainRef } from "./driver-context.ts";
import { attribute, child, text } from "./domain-xml/element.ts";
import { readMetadata } from "./domain-xml/metadata.ts";
import { type Retarget, retarget } from "./domain-xml/retarget.ts";
import { copySecrets, withoutSecrets } from "./domain-xml/secret.ts";
import { readGuest } from "./guest.ts";
import { filesThere, requireFresh, requireFreshState, tpmFiles } from "./guest-state.ts";
import { copyNvram, defaultNvramFile, deleteNvram, isOwnNvram, nvramFile } from "./nvram.ts";

/** What a driver or an older libvirt may not know, the youngest first. Checkpoints' bitmaps stay in the disks. */
const youngFlags: readonly number[] = [
  // 8.9
  VIR_DOMAIN_UNDEFINE_TPM | VIR_DOMAIN_UNDEFINE_KEEP_TPM,
  // 5.6; of NVRAM other drivers than QEMU's know nothing
  VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM,
  VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA,
];

export async function defineFromSpec(
  connection: Connection,
  definition: GuestDefinition,
  options: CallOptions,
): Promise<Guest> {
  const { remote } = connection;
  const { xml } = await renderDefinition(connection, definition, options);
  const isThere = await checkName(connection, definition.name, definition.uuid, options);
  if (isThere) await requireOwn(remote, definition, options);
  else await requireFreshState(connection, definition.uuid, readXml(xml), options);
  const { dom } = await remote.domainDefineXmlFlags({ xml, flags: VIR_DOMAIN_DEFINE_VALIDATE }, options);
  const autostart = definition.spec.autostart === true ? 1 : 0;
  await remote.domainSetAutostart({ dom, autostart }, options).catch((error: unknown) => {
    if (autostart === 1 || !isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) throw error;
  });
  return await readGuest(remote, dom.uuid, options);
}

/** A guest of this name and UUID is only replaced if it is the VM that is defined: clients choose UUIDs, too. */
async function requireOwn(remote: Connection["remote"], definition: GuestDefinition, options: CallOptions) {
  const { name, uuid, metadata } = definition;
  const { xml } = await remote.domainGetXmlDesc({ dom: domainRef(uuid), flags: VIR_DOMAIN_XML_INACTIVE }, options);
  if (readMetadata(readXml(xml))?.vmId === metadata.vmId) return;
  throw new AppError("name_taken", `The host has another VM named ${name}, with the same UUID.`, { field: "name" });
}

export async function defineFromXml(
  connection: Connection,
  xml: string,
  edits: Retarget,
  options: CallOptions,
  witness?: DefinitionWitness,
): Promise<Guest> {
  const root = parseXml(xml);
  if (root.tagName !== "domain") {
    throw new AppError("invalid_field", `This is XML of a <${root.tagName}>, not of a domain.`, { field: "xml" });
  }
  const sourceUuid = text(child(root, "uuid"));
  const sourceNvram = nvramFile(connection, root);
  retarget(root, edits);
  const name = text(child(root, "name"));
  const uuid = text(child(root, "uuid"));
  if (name === undefined || uuid === undefined) {
    throw new AppError("invalid_field", "The XML names no domain.", { field: "xml" });
  }
  await checkName(connection, name, uuid, options);
  await restoreSecrets(connection, root, edits.secretsOf ?? uuid, options);
  const isCopy = uuid !== sourceUuid;
  if (isCopy && !(await exists(connection, uuid, options))) {
    await requireFreshState(connection, uuid, root, options);
  }
  const { remote } = connection;
  await witness?.meant(withoutSecrets(root));
  const { dom } = await remote.domainDefineXml({ xml: serializeXml(root) }, options);
  await witness?.defined(await definitionXml({ remote, dom, options }));
  // Not before it is there: with it they go, and an attempt that was interrupted is known by it.
  if (isCopy && sourceNvram !== undefined) await copyNvram(connection, sourceNvram, { name, uuid }, options);
  return await readGuest(remote, dom.uuid, options);
}

/** Throws if the name that a copy or a renamed guest would have, or what the host keeps under it, is another's. */
export async function checkCopy(
  connection: Connection,
  { xml, name, uuid }: GuestCopy,
  options: CallOptions,
): Promise<void> {
  const root = parseXml(xml);
  const present = text(child(root, "name"));
  const isNew = uuid !== text(child(root, "uuid"));
  if (!isNew && name === present) return;
  await checkName(connection, name, uuid, options);
  const isNamedAfterIt = present !== undefined && nvramFile(connection, root) === defaultNvramFile(present);
  retarget(root, { name, uuid });
  if (isNew) await requireFreshState(connection, uuid, root, options);
  else if (isNamedAfterIt) await requireFresh(connection, uuid, [defaultNvramFile(name)], options);
}

/** What was read without secrets gets those of the guest that it replaces, or is a copy of. */
async function restoreSecrets(
  { remote }: Connection,
  root: Element,
  uuid: string,
  options: CallOptions,
): Promise<void> {
  const flags = VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE;
  try {
    const { xml } = await remote.domainGetXmlDesc({ dom: domainRef(uuid), flags }, options);
    copySecrets(parseXml(xml), root);
  } catch (error) {
    // A guest that is new, or came from another host.
    if (!isNotFound(error)) throw error;
  }
}

async function exists({ remote }: Connection, uuid: string, options: CallOptions): Promise<boolean> {
  const found = await remote.domainLookupByUuid({ uuid }, options).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
  return found !== undefined;
}

/** UEFI variables come along: copied before, deleted under the old name once the VM has the new one. */
export async function renameGuest({ connection, remote, dom, options }: DomainCall, name: string): Promise<void> {
  const present = await remote.domainLookupByUuid({ uuid: dom.uuid }, options);
  if (present.dom.name === name) return;
  await checkName(connection, name, dom.uuid, options);
  const { active } = await remote.domainIsActive({ dom }, options);
  if (active === 1) throw new AppError("invalid_state", "The VM runs; it can be renamed when it is off.");
  const { xml } = await remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_INACTIVE }, options);
  const nvram = nvramFile(connection, readXml(xml));
  const isNamedAfterIt = nvram === defaultNvramFile(present.dom.name);
  const copied = isNamedAfterIt && (await copyNvram(connection, nvram, { name, uuid: dom.uuid }, options));
  try {
    await remote.domainRename({ dom: present.dom, newName: name }, options);
  } catch (error) {
    // Only when libvirt said no: of an answer that was lost nobody knows which file the VM has.
    if (copied && error instanceof LibvirtError)
      await deleteNvram(connection, defaultNvramFile(name), dom.uuid, options);
    throw error;
  }
  if (copied) await deleteNvram(connection, nvram, dom.uuid, options);
}

/**
 * Firmware variables that are not only this guest's, or not in libvirt's own folder (perhaps a shared one, where the guest
 * goes on from on another host), stay in any case. Answers the files that stay.
 */
export async function undefineGuest(
  domain: DomainCall,
  { keepState = false, dryRun = false }: { readonly keepState?: boolean; readonly dryRun?: boolean },
): Promise<string[]> {
  const { connection, remote, dom, options } = domain;
  try {
    const { active } = await remote.domainIsActive({ dom }, options);
    if (active === 1 && !dryRun)
      throw new AppError("invalid_state", "The VM runs; it can be forgotten when it is off.");
    const root = readXml((await remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_INACTIVE }, options)).xml);
    const nvram = nvramFile(connection, root);
    const keepsNvram = keepState || (nvram !== undefined && !(await isOwnNvram(connection, nvram, dom.uuid, options)));
    const keepsTpm = keepState && attribute(child(root, "devices/tpm/backend"), "type") === "emulator";
    const named = [
      ...(keepsNvram && nvram !== undefined ? [nvram] : []),
      ...(keepsTpm ? tpmFiles(dom.uuid, root) : []),
    ];
    const kept = await filesThere(connection, named, options);
    if (dryRun) return kept;
    let flags =
      VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
      VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
      (keepsNvram ? VIR_DOMAIN_UNDEFINE_KEEP_NVRAM : VIR_DOMAIN_UNDEFINE_NVRAM) |
      (keepState ? VIR_DOMAIN_UNDEFINE_KEEP_TPM : VIR_DOMAIN_UNDEFINE_TPM | VIR_DOMAIN_UNDEFINE_MANAGED_SAVE);
    for (const [index, young] of [...youngFlags, 0].entries()) {
      const failure = await remote.domainUndefineFlags({ dom, flags }, options).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      if (failure === undefined) return kept;
      if (!isLibvirtCode(failure.error, "VIR_ERR_INVALID_ARG") || index === youngFlags.length) throw failure.error;
      // Without these flags it would delete what is to stay.
      if ((index === 0 && keepsTpm) || (index === 1 && keepsNvram && nvram !== undefined)) throw cannotKeep();
      flags &= ~young;
    }
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return [];
}

function cannotKeep(): AppError {
  const message =
    "The host's libvirt can't forget a VM without deleting its TPM's state or firmware variables. Nothing was deleted.";
  return new AppError("unsupported", message, {
    remedy: "Update libvirt (8.9 or newer), or delete the VM with its disks.",
  });
}
