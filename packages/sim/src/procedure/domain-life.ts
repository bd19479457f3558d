// Domains come and go, run and stop (virDomainDefineXML … virDomainUndefine of libvirt 9.0).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_SYSTEM_ERROR,
  VIR_FROM_DOMAIN,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { readDefinition } from "#host/domain/definition.ts";
import { TextDocument } from "#host/domain/document.ts";
import {
  BOOTED,
  define,
  destroy,
  operationInvalid,
  reboot,
  rename,
  reset,
  restore,
  resume,
  save,
  shutdown,
  start,
  suspend,
  undefine,
} from "#host/domain/lifecycle.ts";
import { SimDomain } from "#host/domain/sim-domain.ts";
import type { SavedImage } from "#host/domain/sim-domain.ts";
import { memoryOf } from "#host/domain/guest-memory.ts";
import { writeOpaque } from "#host/file/disk-layers.ts";
import { FileError } from "#host/file/file-error.ts";
import { systemError, withFiles } from "#host/pool/storage-error.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import type { Session } from "#rpc/session.ts";
import { format, textOf } from "#xml/element.ts";

async function create({ domains }: SimHost, domain: SimDomain, flags: number, session: Session): Promise<void> {
  if (domain.isActive) throw operationInvalid("domain is already running");
  const isPaused = (flags & lv.VIR_DOMAIN_START_PAUSED) !== 0;
  const saved = (flags & lv.VIR_DOMAIN_START_FORCE_BOOT) === 0 ? domain.managedSave : null;
  if (saved === null) {
    domain.managedSave = null;
    await start(domains, domain, { ...BOOTED, isPaused });
  } else {
    await restore(domains, domain, saved, isPaused || saved.isPaused);
    domain.managedSave = null;
  }
  if ((flags & lv.VIR_DOMAIN_START_AUTODESTROY) !== 0) endWith(session, domains, domain);
}

/** The guest lives no longer than the connection that started it. */
function endWith(session: Session, domains: SimHost["domains"], domain: SimDomain): void {
  const { id } = domain;
  session.onClose(() => {
    if (domain.isActive && domain.id === id) destroy(domains, domain);
  });
}

async function createXml(host: SimHost, xml: string, flags: number, session: Session): Promise<SimDomain> {
  const { domains, random } = host;
  const root = readDefinition(xml, random);
  const uuid = textOf(root, "uuid") ?? "";
  const name = textOf(root, "name") ?? "";
  domains.refuseNamesake(uuid, name);
  const known = domains.find(uuid);
  if (known?.isActive === true)
    throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN, `domain '${name}' is already active`);
  if (known !== undefined) {
    known.config = new TextDocument(root);
    await create(host, known, flags | lv.VIR_DOMAIN_START_FORCE_BOOT, session);
    return known;
  }
  const domain = new SimDomain(host, uuid, name, new TextDocument(root), false);
  domains.add(domain);
  try {
    await create(host, domain, flags, session);
  } catch (error) {
    domains.remove(domain);
    throw error;
  }
  return domain;
}

function managedSave({ domains }: SimHost, domain: SimDomain, flags: number): void {
  domain.requireActive();
  if (!domain.isPersistent) throw operationInvalid("cannot do managed save for transient domain");
  domain.managedSave = save(domains, domain, (flags & lv.VIR_DOMAIN_SAVE_PAUSED) !== 0);
}

function saveFile({ domains, files, clock }: SimHost, domain: SimDomain, path: string, flags: number): void {
  const write = (): void => {
    const bytes = memoryOf(domain, clock).residentKiB * 1024;
    withFiles(`Failed to create file '${path}'`, () => writeOpaque(files, path, bytes), VIR_FROM_QEMU);
  };
  const image = save(domains, domain, (flags & lv.VIR_DOMAIN_SAVE_PAUSED) !== 0, write);
  domains.savedImages.set(path, image);
}

async function restoreFile(
  { domains, random }: SimHost,
  path: string,
  dxml: string | null,
  flags: number,
): Promise<void> {
  const image = imageIn(domains, path);
  const document = dxml === null ? image.document : new TextDocument(readDefinition(dxml, random));
  const root = document.root();
  const uuid = textOf(root, "uuid") ?? "";
  const known = domains.find(uuid);
  if (known?.isActive === true)
    throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN, `domain '${known.name}' is already active`);
  const name = textOf(root, "name") ?? "";
  domains.refuseNamesake(uuid, name);
  const domain = known ?? new SimDomain(domains.context, uuid, name, document, false);
  if (known === undefined) domains.add(domain);
  const asked = (flags & lv.VIR_DOMAIN_SAVE_RUNNING) !== 0 ? false : image.isPaused;
  try {
    await restore(domains, domain, { ...image, document }, (flags & lv.VIR_DOMAIN_SAVE_PAUSED) !== 0 || asked);
  } catch (error) {
    if (known === undefined) domains.remove(domain);
    throw error;
  }
}

function imageIn({ savedImages }: SimHost["domains"], path: string): SavedImage {
  const image = savedImages.get(path);
  if (image !== undefined) return image;
  throw new SimError(VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, `Failed to open file '${path}': No such file or directory`);
}

export const domainLifeProcedures: Procedures = {
  remote: {
    domainDefineXml: ({ domains }, { xml }) => ({ dom: define(domains, xml).ref }),
    domainDefineXmlFlags: ({ domains }, { xml }) => ({ dom: define(domains, xml).ref }),
    domainUndefine: ({ domains }, { dom }) => undefine(domains, domains.require(dom), 0),
    domainUndefineFlags: ({ domains }, { dom, flags }) => undefine(domains, domains.require(dom), flags),
    domainCreate: (host, { dom }, session) => create(host, host.domains.require(dom), 0, session),
    domainCreateWithFlags: async (host, { dom, flags }, session) => {
      const domain = host.domains.require(dom);
      await create(host, domain, flags, session);
      return { dom: domain.ref };
    },
    domainCreateXml: async (host, { xmlDesc, flags }, session) => ({
      dom: (await createXml(host, xmlDesc, flags, session)).ref,
    }),
    domainDestroy: ({ domains }, { dom }) => destroy(domains, domains.require(dom)),
    domainDestroyFlags: ({ domains }, { dom }) => destroy(domains, domains.require(dom)),
    domainShutdown: ({ domains }, { dom }) => shutdown(domains, domains.require(dom)),
    domainShutdownFlags: ({ domains }, { dom }) => shutdown(domains, domains.require(dom)),
    domainReboot: ({ domains }, { dom }) => reboot(domains, domains.require(dom)),
    domainReset: ({ domains }, { dom }) => reset(domains, domains.require(dom)),
    domainSuspend: ({ domains }, { dom }) => suspend(domains, domains.require(dom)),
    domainResume: ({ domains }, { dom }) => resume(domains, domains.require(dom)),
    domainRename: ({ domains }, { dom, newName }) => {
      rename(domains, domains.require(dom), newName ?? "");
      return { retcode: 0 };
    },
    domainSetAutostart: ({ domains }, { dom, autostart }) => {
      const domain = domains.require(dom);
      if (!domain.isPersistent)
        throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, "cannot set autostart for transient domain");
      domain.autostart = autostart !== 0;
    },
    domainManagedSave: (host, { dom, flags }) => managedSave(host, host.domains.require(dom), flags),
    domainManagedSaveRemove: ({ domains }, { dom }) => {
      const domain = domains.require(dom);
      if (domain.managedSave === null) {
        const file = `/var/lib/libvirt/qemu/save/${domain.name}.save`;
        throw systemError(`Failed to remove managed save file '${file}'`, new FileError("ENOENT"), VIR_FROM_QEMU);
      }
      domain.managedSave = null;
    },
    domainManagedSaveGetXmlDesc: ({ domains }, { dom }) => {
      const { managedSave: image } = domains.require(dom);
      if (image === null) throw operationInvalid("domain does not have managed save image");
      return { xml: image.document.text() };
    },
    domainSave: (host, { dom, to }) => saveFile(host, host.domains.require(dom), to, 0),
    domainSaveFlags: (host, { dom, to, flags }) => saveFile(host, host.domains.require(dom), to, flags),
    domainRestore: (host, { from }) => restoreFile(host, from, null, 0),
    domainRestoreFlags: (host, { from, dxml, flags }) => restoreFile(host, from, dxml ?? null, flags),
    domainSaveImageGetXmlDesc: (host, { file }) => ({ xml: format(imageIn(host.domains, file).document.root()) }),
  },
};
