/**
 * Changes of an existing guest. The persistent definition is edited and defined first (libvirt checks it then), the
 * running guest is brought after it where the hypervisor can. Invariant: after a failure the definition is the old one
 * and what was changed live has been taken back, or the error names what has not. What was applied and what waits is not
 * guessed from the steps, but read back from the host.
 */
import {
  VIR_DOMAIN_AFFECT_CONFIG,
  VIR_DOMAIN_AFFECT_LIVE,
  VIR_DOMAIN_XML_INACTIVE,
  VIR_DOMAIN_XML_SECURE,
} from "@innkeeper/libvirt";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { mapLibvirtError } from "#libvirt/error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { type Element, parseXml, serializeXml } from "#libvirt/xml.ts";
import type { DefinitionWitness, GuestChange, GuestChangeResult, GuestMetadata } from "#virtualization/port.ts";
import { checkHost, checkPlatform, checkSets } from "../check.ts";
import { definitionXml, type DomainCall, type GuestDriverContext } from "../driver-context.ts";
import { applyChange } from "../domain-xml/apply-change.ts";
import { editMetadata } from "../domain-xml/metadata.ts";
import { differences, pendingChanges, withConfiguredModel, withoutFullPins } from "../domain-xml/compare.ts";
import { isOutcome } from "../domain-xml/outcome.ts";
import { withoutSecrets } from "../domain-xml/secret.ts";
import { readSpec } from "../domain-xml/spec.ts";
import { hostCpuCount } from "../guest.ts";
import { platformCapabilities } from "../platform.ts";
import { cpuSteps } from "./live-cpu.ts";
import { diskSteps } from "./live-disk.ts";
import { memorySteps } from "./live-memory.ts";
import { nicSteps } from "./live-nic.ts";
import { ioThreadSteps, ownFacts, setMetadata } from "./live-other.ts";
import { type LiveGuest, type LiveStep, runLiveSteps } from "./live-step.ts";

interface Present {
  readonly active: boolean;
  readonly persistent: boolean;
  /** The persistent definition, or of a transient guest the running one. */
  readonly oldXml: string;
  readonly next: Element;
}

/** Without SECURE a definition that is written back would lose its passwords. */
const definitionFlags = VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE;

export async function changeGuest(
  context: GuestDriverContext,
  domain: DomainCall,
  change: GuestChange,
  witness?: DefinitionWitness,
): Promise<GuestChangeResult> {
  const present = await readPresent(domain);
  const { metadata, ...rest } = change;
  if (metadata !== undefined && Object.keys(rest).length === 0) return await changeMetadata(domain, present, metadata);
  const before = readSpec(present.next);
  applyChange(present.next, change);
  const after = readSpec(present.next);
  const changed = [...differences(before, after), ...grown(change)];
  await checkChange(domain, change, after);
  if (!present.active && grown(change).length > 0) {
    const message = "A disk of a VM that is off grows as a volume of its storage.";
    throw new AppError("invalid_state", message, { field: "disksChange.capacityBytes" });
  }
  const steps = present.active ? await liveSteps(context, domain, change, present.next) : [];
  const withAutostart = await setAutostart(domain, change);
  let definedXml: string | undefined;
  try {
    if (present.persistent) definedXml = await define(context, domain, present, witness);
  } catch (error) {
    await withAutostart.undo();
    throw error;
  }
  await runLiveSteps(steps, context.log, async (left) => {
    await withAutostart.undo();
    await restore(context, domain, { oldXml: present.oldXml, isOwn: (xml) => xml === definedXml }, left);
  });
  if (!present.active) return { applied: [...changed, ...withAutostart.paths], pending: [] };
  return await outcome(domain, present, [...changed, ...withAutostart.paths]);
}

async function readPresent({ remote, dom, options }: DomainCall): Promise<Present> {
  const [{ active }, { persistent }, definition] = await Promise.all([
    remote.domainIsActive({ dom }, options),
    remote.domainIsPersistent({ dom }, options),
    remote.domainGetXmlDesc({ dom, flags: definitionFlags }, options),
  ]);
  const { xml } =
    persistent === 1 ? definition : await remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_SECURE }, options);
  return { active: active === 1, persistent: persistent === 1, oldXml: xml, next: parseXml(xml) };
}

/** Refuses what this host has not, for the fields that change. */
async function checkChange(
  { connection, options }: DomainCall,
  change: GuestChange,
  after: ReturnType<typeof readSpec>,
): Promise<void> {
  checkSets(after);
  if (change.cpu ?? change.memory)
    await checkHost(connection, { ...after, cpu: { ...after.cpu, ...pinsOf(change.cpu) } }, options);
  const { firmware, tpm, graphics, video } = change.hardware ?? {};
  const model = change.cpu?.model;
  const capabilities = await platformCapabilities(connection, after, options);
  if (capabilities === undefined) return;
  const { model: _model, ...cpu } = after.cpu;
  const { firmware: _firmware, tpm: _tpm, graphics: _graphics, video: _video, ...rest } = after;
  const asked = {
    ...rest,
    cpu: { ...cpu, ...(model !== undefined && { model }) },
    ...(firmware !== undefined && { firmware }),
    ...(tpm !== undefined && { tpm }),
    ...(graphics !== undefined && { graphics }),
    ...(video !== undefined && { video }),
  };
  checkPlatform(asked, capabilities);
}

/** Also those of vCPUs that a guest has not. */
function pinsOf({ pinning, emulatorPinning }: NonNullable<GuestChange["cpu"]> = {}): Partial<VmSpec["cpu"]> {
  return { ...(pinning && { pinning }), ...(typeof emulatorPinning === "string" && { emulatorPinning }) };
}

/** Paths of disks that grow: capacity is the storage's, no field of the spec. */
function grown(change: GuestChange): string[] {
  return (change.disksChange ?? [])
    .filter((disk) => disk.capacityBytes !== undefined)
    .map((disk) => `disks.${disk.target}.capacityBytes`);
}

async function liveSteps(
  context: GuestDriverContext,
  { remote, dom, options }: DomainCall,
  change: GuestChange,
  next: Element,
): Promise<LiveStep[]> {
  const { xml } = await remote.domainGetXmlDesc({ dom, flags: VIR_DOMAIN_XML_SECURE }, options);
  const root = parseXml(xml);
  const guest: LiveGuest = { remote, dom, options, root, spec: readSpec(root) };
  const steps = [
    ...(change.memory ? memorySteps(guest, change.memory) : []),
    ...nicSteps(guest, context.clock, change),
    ...ioThreadSteps(guest, change.hardware?.ioThreads),
  ];
  const { shares, reservationMiB } = change.memory ?? {};
  if (change.metadata !== undefined || shares !== undefined || reservationMiB !== undefined) {
    const flags = VIR_DOMAIN_AFFECT_LIVE;
    const before = ownFacts(root);
    const run = () => setMetadata(guest, ownFacts(next), flags, before);
    steps.push({ what: "metadata", run, undo: () => setMetadata(guest, before, flags) });
  }
  const disks = await diskSteps(guest, context.clock, change);
  // What may not be taken back (vCPUs, growth) comes last.
  return [...steps, ...disks.revocable, ...(change.cpu ? await cpuSteps(guest, change.cpu) : []), ...disks.final];
}

/** Set as such, in one call for all: a definition that someone else changes at the same time is not overwritten. */
async function changeMetadata(
  domain: DomainCall,
  { active, persistent, next }: Present,
  metadata: GuestMetadata,
): Promise<GuestChangeResult> {
  const before = ownFacts(next);
  editMetadata(next, metadata);
  const flags = (active ? VIR_DOMAIN_AFFECT_LIVE : 0) | (persistent ? VIR_DOMAIN_AFFECT_CONFIG : 0);
  await setMetadata(domain, ownFacts(next), flags, before);
  return { applied: [], pending: [] };
}

/**
 * The definition as libvirt has it then; undefined if there was nothing to define. What it has made of a definition that
 * was sent may be what fails to be read: the old one is then put back all the same.
 */
async function define(
  context: GuestDriverContext,
  domain: DomainCall,
  { next, oldXml }: Present,
  witness: DefinitionWitness | undefined,
): Promise<string | undefined> {
  const { remote, options } = domain;
  const xml = serializeXml(next);
  if (xml === serializeXml(parseXml(oldXml))) return undefined;
  await refuseIfChanged(domain, oldXml);
  await witness?.meant(withoutSecrets(next));
  try {
    await remote.domainDefineXml({ xml }, options);
    const definedXml = await definitionXml(domain, definitionFlags);
    await witness?.defined(await definitionXml(domain));
    return definedXml;
  } catch (error) {
    const isOwn = (shown: string): boolean => isOutcome(shown, { meant: xml, before: oldXml });
    await restore(context, domain, { oldXml, isOwn }, []);
    throw error;
  }
}

/** libvirt has no "define if unchanged": what someone else did since we read is looked for as late as can be. */
async function refuseIfChanged(domain: DomainCall, oldXml: string): Promise<void> {
  if ((await definitionXml(domain, definitionFlags)) === oldXml) return;
  throw new AppError("conflict", "The VM was changed on its host at the same moment; nothing was changed here.", {
    remedy: "Look at the VM and try again.",
  });
}

interface Autostart {
  readonly paths: readonly string[];
  undo(): Promise<void>;
}

async function setAutostart({ remote, dom, options }: DomainCall, change: GuestChange): Promise<Autostart> {
  const wanted = change.hardware?.autostart;
  if (wanted === undefined) return { paths: [], undo: async () => {} };
  const before = await remote.domainGetAutostart({ dom }, options);
  const autostart = wanted ? 1 : 0;
  if (before.autostart === autostart) return { paths: [], undo: async () => {} };
  await remote.domainSetAutostart({ dom, autostart }, options);
  const undo = async (): Promise<void> => {
    await remote.domainSetAutostart({ dom, autostart: before.autostart }, options).catch(() => undefined);
  };
  return { paths: ["autostart"], undo };
}

/**
 * With a deadline of its own: the change may have failed because its caller gave up. A definition that someone else has
 * written since stays.
 */
async function restore(
  context: GuestDriverContext,
  { dom }: DomainCall,
  { oldXml, isOwn }: { readonly oldXml: string; readonly isOwn: (xml: string) => boolean },
  left: readonly string[],
): Promise<void> {
  const remaining = [...left];
  let code: ErrorCode = "host_failed";
  const signal = AbortSignal.timeout(restoreDeadlineMs);
  try {
    const { remote } = await context.session.connection({ signal });
    const present = await definitionXml({ remote, dom, options: { signal } }, definitionFlags);
    if (present === oldXml) {
      // As it was.
    } else if (isOwn(present)) await remote.domainDefineXml({ xml: oldXml }, { signal });
    else remaining.push("the definition, which someone else changed meanwhile");
  } catch (error) {
    context.log.error({ reason: String(error) }, "the old definition could not be put back");
    if (mapLibvirtError(error, { what: "put it back" }).code === "host_unreachable") code = "host_unreachable";
    remaining.push("the definition");
  }
  if (remaining.length === 0) return;
  const still =
    code === "host_unreachable" ? "the host can't be reached, and perhaps still changed are" : "still changed are";
  throw new AppError(code, `The change failed half-way; ${still}: ${remaining.join(", ")}.`);
}

const restoreDeadlineMs = 15_000;

async function outcome(
  { remote, dom, options }: DomainCall,
  { persistent, next }: Present,
  changed: readonly string[],
): Promise<GuestChangeResult> {
  const cpuCount = await hostCpuCount(remote, options);
  const read = async (flags: number): Promise<VmSpec> =>
    withoutFullPins(readSpec(readXml((await remote.domainGetXmlDesc({ dom, flags }, options)).xml)), cpuCount);
  const live = await read(0);
  const wanted = persistent ? await read(VIR_DOMAIN_XML_INACTIVE) : withoutFullPins(readSpec(next), cpuCount);
  const waiting = new Set(pendingChanges(withConfiguredModel(live, wanted), wanted));
  const pending = changed.filter((path) => waiting.has(path));
  if (!persistent && pending.length > 0) {
    const message = `The VM has no definition to start from again, and can't take this while it runs: ${pending.join(", ")}.`;
    throw new AppError("unsupported", message, { field: pending[0] ?? "" });
  }
  return { applied: changed.filter((path) => !waiting.has(path)), pending };
}
