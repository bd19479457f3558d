/**
 * External snapshots without libvirt's metadata (libvirt 9.0 virDomainSnapshotCreateXML with NO_METADATA): libvirt 9.0
 * can't revert to an external snapshot and refuses to migrate a guest that has some, so the tree is management's.
 */
import {
  VIR_DOMAIN_SAVE_IMAGE_XML_SECURE,
  VIR_DOMAIN_SAVE_PAUSED,
  VIR_DOMAIN_SAVE_RUNNING,
  VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC,
  VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
  VIR_DOMAIN_SNAPSHOT_CREATE_LIVE,
  VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
  VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE,
  VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT,
  VIR_DOMAIN_XML_INACTIVE,
  VIR_DOMAIN_XML_SECURE,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { LongCall } from "#core/call.ts";
import { type ConnectedCall, longDeadlineMs, onConnection } from "#libvirt/session.ts";
import { formatXml, parseXml, serializeXml, xml } from "#libvirt/xml.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { GuestSnapshot } from "#virtualization/port.ts";
import { mergeDown } from "./block-commit.ts";
import { cancellableJob } from "./cancellable-job.ts";
import { type DomainCall, type GuestDriverContext, jobDeadlineMs, onDomain, untimed } from "./driver-context.ts";
import { diskByTarget, readDisks } from "./domain-xml/disk.ts";
import { attribute, child, text } from "./domain-xml/element.ts";
import { dropChains, replaceDisks } from "./domain-xml/retarget.ts";
import { deleteForeignSnapshot, revertForeignSnapshot } from "./foreign-snapshot.ts";
import { reportProgress, withJobStats } from "./job-progress.ts";

type FreezeOptions = Parameters<GuestSnapshot["freeze"]>[1];
type RestoreOptions = Parameters<GuestSnapshot["restoreMemory"]>[1];

export function guestSnapshot(context: GuestDriverContext): GuestSnapshot {
  return {
    freeze: async (uuid, options, call) => {
      const what = "take the snapshot";
      const prepare = (domain: DomainCall) => prepareFreeze(domain, options);
      const prepared = await onDomain(context, uuid, call, what, prepare, longDeadlineMs);
      if (prepared === undefined) return;
      // One that saves memory is a job: it is cancelled, not given up.
      const uncancelled = { signal: new AbortController().signal };
      const run = (domain: DomainCall) => freeze(context, domain, prepared, call);
      await onDomain(context, uuid, prepared.isJob ? uncancelled : call, what, run, jobDeadlineMs);
    },
    restoreMemory: (memoryPath, options, call) =>
      onConnection(
        context,
        call,
        "restore the VM's memory",
        (connected) => restoreMemory(connected, memoryPath, options),
        jobDeadlineMs,
      ),
    mergeDown: (uuid, options, call) =>
      onDomain(
        context,
        uuid,
        call,
        `merge a layer of disk ${options.target}`,
        (domain) => mergeDown(context, domain, options, call),
        jobDeadlineMs,
      ),
    revertForeign: (uuid, name, call) =>
      onDomain(
        context,
        uuid,
        call,
        `revert to snapshot ${name}`,
        (domain) => revertForeignSnapshot(domain, name),
        jobDeadlineMs,
      ),
    deleteForeign: (uuid, name, options, call) =>
      onDomain(
        context,
        uuid,
        call,
        `delete snapshot ${name}`,
        (domain) => deleteForeignSnapshot(domain, name, options.children),
        jobDeadlineMs,
      ),
    chains: (uuid, call) =>
      onDomain(
        context,
        uuid,
        call,
        "read the layers of the VM's disks",
        async (domain) => chainsOf(await document(domain)),
        longDeadlineMs,
      ),
  };
}

async function document({ remote, dom, options }: DomainCall): Promise<ReadElement> {
  return readXml((await remote.domainGetXmlDesc({ dom }, options)).xml);
}

function chainsOf(root: ReadElement): Map<string, readonly string[]> {
  return new Map(
    readDisks(root).flatMap((disk) =>
      disk.source === undefined ? [] : [[disk.target, [disk.source, ...(disk.backingChain ?? [])]] as const],
    ),
  );
}

interface PreparedFreeze {
  readonly xmlDesc: string;
  readonly flags: number;
  readonly isJob: boolean;
}

/** undefined when it was done already. */
async function prepareFreeze(domain: DomainCall, options: FreezeOptions): Promise<PreparedFreeze | undefined> {
  const root = await document(domain);
  const { overlays, memoryPath, quiesce } = options;
  for (const target of overlays.keys()) {
    if (diskByTarget(root, target) === undefined) {
      throw new AppError("invalid_field", `The VM has no disk ${target}.`, { field: "overlays" });
    }
  }
  if (quiesce && memoryPath !== undefined) {
    const message = "a snapshot with memory needs no frozen file systems: what is in flight is in the memory.";
    throw new AppError("invalid_field", message, { field: "quiesce" });
  }
  // A freeze that came through before its caller heard of it is not done twice.
  if (isFrozen(root, options)) return undefined;
  if (memoryPath !== undefined && attribute(root, "id") === undefined) {
    throw new AppError("invalid_state", `VM ${nameOf(root)} was switched off meanwhile: it has no memory to save.`);
  }
  const flags =
    VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA |
    VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
    (memoryPath === undefined ? VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY : VIR_DOMAIN_SNAPSHOT_CREATE_LIVE) |
    (quiesce ? VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE : 0) |
    (options.overlaysExist === true ? VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT : 0);
  return { xmlDesc: snapshotXml(root, overlays, memoryPath), flags, isJob: memoryPath !== undefined };
}

/** Whether the disks are on the overlays already. An overlay on other layers than its maker knew could not be taken back. */
function isFrozen(root: ReadElement, { overlays, layers }: FreezeOptions): boolean {
  const present = new Map(readDisks(root).map(({ target, source }) => [target, source]));
  const switched = [...overlays].flatMap(([target, path]) => (present.get(target) === path ? [target] : []));
  if (switched.length === overlays.size) return true;
  if (switched.length > 0) {
    const message = `Only disks ${switched.join(", ")} are on their overlays: someone else changes the disks, too.`;
    throw new AppError("conflict", message);
  }
  for (const [target, layer] of layers ?? []) {
    const source = present.get(target);
    if (source === layer) continue;
    const message = `Disk ${target} of VM ${nameOf(root)} is ${source ?? "gone"} by now, not ${layer}: someone else changes its layers. Nothing was changed.`;
    throw new AppError("conflict", message, { remedy: "Try again when nobody else does." });
  }
  return false;
}

function nameOf(root: ReadElement): string {
  return text(child(root, "name")) ?? "";
}

async function freeze(
  context: GuestDriverContext,
  domain: DomainCall,
  { xmlDesc, flags, isJob }: PreparedFreeze,
  call: LongCall,
): Promise<void> {
  call.signal.throwIfAborted();
  const { remote, dom } = domain;
  const job = remote.domainSnapshotCreateXml({ dom, xmlDesc, flags }, untimed(domain.options));
  const words = "The snapshot was cancelled; the VM runs on its disks as before.";
  const ended = isJob ? cancellableJob(context, domain, call, job, words) : job;
  await withJobStats(domain, context.clock, ended, (stats) => reportProgress(call, stats));
}

function snapshotXml(root: ReadElement, overlays: ReadonlyMap<string, string>, memoryPath: string | undefined): string {
  const disks = readDisks(root).map((disk) => {
    const overlay = overlays.get(disk.target);
    if (overlay === undefined) return xml("disk", { name: disk.target, snapshot: "no" });
    const source = overlay.startsWith("/dev/") ? xml("source", { dev: overlay }) : xml("source", { file: overlay });
    const type = overlay.startsWith("/dev/") ? "block" : "file";
    const attributes = { name: disk.target, snapshot: "external", type };
    return xml("disk", attributes, xml("driver", { type: "qcow2" }), source);
  });
  const memory = memoryPath === undefined ? undefined : xml("memory", { snapshot: "external", file: memoryPath });
  return formatXml(xml("domainsnapshot", {}, memory, xml("disks", {}, ...disks)));
}

/** The definition is put back as it was: libvirt makes the saved image's XML the definition of a guest that has none. */
async function restoreMemory(
  { connection: { remote }, options }: ConnectedCall,
  memoryPath: string,
  { disks, paused }: RestoreOptions,
): Promise<void> {
  const image = await remote.domainSaveImageGetXmlDesc(
    { file: memoryPath, flags: VIR_DOMAIN_SAVE_IMAGE_XML_SECURE },
    options,
  );
  const root = parseXml(image.xml);
  dropChains(root);
  replaceDisks(root, disks);
  const uuid = text(child(root, "uuid")) ?? "";
  const dom = { name: text(child(root, "name")) ?? uuid, uuid, id: -1 };
  const readDefinition = async (): Promise<string> =>
    (await remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE }, options)).xml;
  const { active } = await remote.domainIsActive({ dom }, options);
  if (active === 1) throw new AppError("invalid_state", "The VM runs; its memory is restored when it is off.");
  const before = await readDefinition();
  const flags = paused ? VIR_DOMAIN_SAVE_PAUSED : VIR_DOMAIN_SAVE_RUNNING;
  await remote.domainRestoreFlags({ from: memoryPath, dxml: serializeXml(root), flags }, untimed(options));
  if ((await readDefinition()) !== before) await remote.domainDefineXml({ xml: before }, options);
}
