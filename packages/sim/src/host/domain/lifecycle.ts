// The life of a domain: defined, started, paused, stopped, forgotten. Events come in libvirt's order (libvirt 9.0
// src/qemu/qemu_driver.c and qemu_process.c, measured by the conformance suite).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_SYSTEM_ERROR,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { attributeOf, find, textOf } from "#xml/element.ts";
import { wait } from "#host/clock.ts";
import { readDefinition } from "./definition.ts";
import { TextDocument } from "./document.ts";
import { SimDomain } from "./sim-domain.ts";
import type { Element } from "#xml/element.ts";
import type { DomainDocument } from "./document.ts";
import type { Domains } from "./domains.ts";
import type { SavedImage } from "./sim-domain.ts";

export function emit(domains: Domains, domain: SimDomain, event: number, detail: number): void {
  domains.context.events.domain("lifecycle", { dom: domain.ref, event, detail });
}

export function operationInvalid(detail: string): SimError {
  return new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, detail);
}

export function define(domains: Domains, xml: string): SimDomain {
  const root = readDefinition(xml, domains.context.random);
  return defineRoot(domains, root, lv.VIR_DOMAIN_EVENT_DEFINED_ADDED);
}

/** @param addedDetail of the event when the domain is new. */
export function defineRoot(domains: Domains, root: Element, addedDetail: number): SimDomain {
  const uuid = textOf(root, "uuid") ?? "";
  const name = textOf(root, "name") ?? "";
  domains.refuseNamesake(uuid, name);
  const document = new TextDocument(root);
  const known = domains.find(uuid);
  if (known === undefined) {
    const domain = new SimDomain(domains.context, uuid, name, document, true);
    domains.add(domain);
    emit(domains, domain, lv.VIR_DOMAIN_EVENT_DEFINED, addedDetail);
    return domain;
  }
  const isNew = !known.isPersistent;
  if (known.run !== null && known.run.document === null) known.run.document = known.config;
  known.config = document;
  known.isPersistent = true;
  const detail = isNew ? lv.VIR_DOMAIN_EVENT_DEFINED_ADDED : lv.VIR_DOMAIN_EVENT_DEFINED_UPDATED;
  emit(domains, known, lv.VIR_DOMAIN_EVENT_DEFINED, detail);
  return known;
}

export function undefine(domains: Domains, domain: SimDomain, flags: number): void {
  if (!domain.isPersistent) throw operationInvalid("cannot undefine transient domain");
  if (domain.snapshotCount > 0 && !domain.isActive && (flags & lv.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA) === 0)
    throw operationInvalid(`cannot delete inactive domain with ${domain.snapshotCount} snapshots`);
  if (domain.managedSave !== null) {
    if ((flags & lv.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) === 0)
      throw operationInvalid("Refusing to undefine while domain managed save image exists");
    domain.managedSave = null;
  }
  domain.isPersistent = false;
  domain.autostart = false;
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_UNDEFINED, lv.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
  if (!domain.isActive) domains.remove(domain);
}

export interface StartOptions {
  readonly isPaused: boolean;
  /** Of the event, and of the state. */
  readonly event: number;
  readonly reason: number;
  readonly vcpuSeconds?: number;
}

export const BOOTED: StartOptions = {
  isPaused: false,
  event: lv.VIR_DOMAIN_EVENT_STARTED_BOOTED,
  reason: lv.VIR_DOMAIN_RUNNING_BOOTED,
};
const RESTORED: StartOptions = {
  isPaused: false,
  event: lv.VIR_DOMAIN_EVENT_STARTED_RESTORED,
  reason: lv.VIR_DOMAIN_RUNNING_RESTORED,
};

/** Runs it. The caller has checked that it is off. While QEMU comes up the guest is there already, as paused. */
export async function start(domains: Domains, domain: SimDomain, options: StartOptions): Promise<void> {
  refuseMissingDisks(domains, domain.config);
  occupy(domains, domain);
  const { id } = domain;
  if (domains.timing.startMs > 0) await wait(domains.context.clock, domains.timing.startMs);
  // Destroyed meanwhile, or the host has lost its power.
  if (domain.id !== id)
    throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "process exited while connecting to monitor");
  go(domains, domain, options);
  if (options.event === lv.VIR_DOMAIN_EVENT_STARTED_BOOTED) watchBoot(domains, domain);
}

/** The guest is there from one moment to the next: no time passes. */
export function begin(domains: Domains, domain: SimDomain, options: StartOptions): void {
  occupy(domains, domain);
  go(domains, domain, options);
}

function go(domains: Domains, domain: SimDomain, options: StartOptions): void {
  domain.resetCounters(options.vcpuSeconds);
  const isRestored = options.event === lv.VIR_DOMAIN_EVENT_STARTED_RESTORED;
  const run = (): void => {
    domain.setState(lv.VIR_DOMAIN_RUNNING, options.reason);
    // libvirt says so of saved memory, too.
    const detail = isRestored ? lv.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT : lv.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED;
    emit(domains, domain, lv.VIR_DOMAIN_EVENT_RESUMED, detail);
  };
  if (!options.isPaused && !isRestored) run();
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_STARTED, options.event);
  if (!options.isPaused) {
    if (isRestored) run();
    return;
  }
  // Memory from a file comes in as a migration does.
  domain.setState(lv.VIR_DOMAIN_PAUSED, isRestored ? lv.VIR_DOMAIN_PAUSED_MIGRATION : lv.VIR_DOMAIN_PAUSED_USER);
  const detail = isRestored ? lv.VIR_DOMAIN_EVENT_SUSPENDED_RESTORED : lv.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED;
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, detail);
}

/** Gives it what a running guest has of its host. Its id stands for this run alone. */
export function occupy(domains: Domains, domain: SimDomain): void {
  const { clock } = domains.context;
  const facts = domain.config.facts();
  domain.id = domains.nextId();
  const vnetCount = facts.nics.length;
  domain.run = {
    document: null,
    displayPort: domains.freeDisplayPort(),
    firstVnet: domains.takeVnets(vnetCount),
    vnetCount,
    firstPty: domains.takePtys(1),
    startedMs: clock.steadyMs(),
    agentFromMs: clock.steadyMs() + domains.timing.bootMs,
    balloonKiB: facts.currentKiB,
  };
  domain.setState(lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_STARTING_UP);
}

function refuseMissingDisks(domains: Domains, document: DomainDocument): void {
  for (const { source } of document.facts().disks) {
    if (source === undefined || !source.startsWith("/") || source.startsWith("/dev/")) continue;
    if (domains.context.disks.find(source) !== undefined) continue;
    // virStorageFileReportBrokenChain, src/storage_file/storage_source.c: no storage driver's, the security part's own.
    const detail = `Cannot access storage file '${source}' (as uid:64055, gid:64055): No such file or directory`;
    throw new SimError(VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, detail);
  }
}

/** A guest that has booted connects its agent; one that finds nothing to boot from is reset by its firmware. */
function watchBoot(domains: Domains, domain: SimDomain): void {
  const { clock, events } = domains.context;
  const { id } = domain;
  const { disks, nics, hasAgent } = domain.facts;
  const { agentFromMs } = domain.requireActive();
  const isSame = (): boolean => domain.id === id && domain.isActive;
  if (hasAgent) {
    clock.schedule(agentFromMs - clock.steadyMs(), () => {
      if (!isSame() || domain.state !== lv.VIR_DOMAIN_RUNNING) return;
      const reason = lv.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL;
      events.domain("agentLifecycle", { dom: domain.ref, state: 1, reason });
    });
  }
  if (disks.length > 0 || nics.length > 0) return;
  const root = domain.config.root();
  const rebootMs = Number(attributeOf(root, "os", "bios", "rebootTimeout") ?? -1);
  if (rebootMs < 0 || find(root, "os", "kernel") !== undefined) return;
  clock.schedule(rebootMs + FIRMWARE_MS, () => {
    if (isSame() && domain.state === lv.VIR_DOMAIN_RUNNING) guestReboots(domains, domain);
  });
}

/** What SeaBIOS needs under KVM before it looks for something to boot. */
const FIRMWARE_MS = 120;

function guestReboots(domains: Domains, domain: SimDomain): void {
  if (policyOf(domain, "on_reboot") === "restart") {
    const run = domain.requireActive();
    run.agentFromMs = domains.context.clock.steadyMs() + domains.timing.bootMs;
    domains.context.events.domain("reboot", { dom: domain.ref });
    return;
  }
  stop(domains, domain, lv.VIR_DOMAIN_SHUTOFF_SHUTDOWN, lv.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
}

function policyOf(domain: SimDomain, name: string): string {
  return textOf((domain.run?.document ?? domain.config).root(), name) ?? "";
}

/** It is off from now on; a transient one is gone. */
export function stop(domains: Domains, domain: SimDomain, reason: number, detail: number): void {
  release(domains, domain, reason);
  // The event still names the id that the guest had.
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_STOPPED, detail);
  forgetRun(domains, domain);
}

function release(domains: Domains, domain: SimDomain, reason: number): void {
  domains.retiredVcpuSeconds += domain.vcpuSeconds();
  domain.setState(lv.VIR_DOMAIN_SHUTOFF, reason);
  domain.run = null;
  domain.job = null;
}

function forgetRun(domains: Domains, domain: SimDomain): void {
  domain.id = -1;
  domain.resetCounters();
  if (!domain.isPersistent) domains.remove(domain);
}

export function destroy(domains: Domains, domain: SimDomain): void {
  domain.requireActive();
  domain.job?.abort();
  // QEMU tells that it was told to end.
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_SHUTDOWN, lv.VIR_DOMAIN_EVENT_SHUTDOWN_HOST);
  stop(domains, domain, lv.VIR_DOMAIN_SHUTOFF_DESTROYED, lv.VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
}

export function suspend(domains: Domains, domain: SimDomain): void {
  domain.requireActive();
  if (domain.state === lv.VIR_DOMAIN_PAUSED) return;
  domain.setState(lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_USER);
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, lv.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
}

export function resume(domains: Domains, domain: SimDomain): void {
  domain.requireActive();
  if (domain.state === lv.VIR_DOMAIN_PMSUSPENDED) throw operationInvalid("domain is pmsuspended");
  if (domain.state === lv.VIR_DOMAIN_RUNNING) throw operationInvalid("domain is already running");
  domain.setState(lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_RUNNING_UNPAUSED);
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_RESUMED, lv.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
}

/** The power button: the guest ends by itself after a while. A paused one does not see it. */
export function shutdown(domains: Domains, domain: SimDomain): void {
  if (!domain.isActive) throw operationInvalid("domain is not running");
  whenGuestReacts(domains, domain, () => {
    emit(domains, domain, lv.VIR_DOMAIN_EVENT_SHUTDOWN, lv.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST);
    stop(domains, domain, lv.VIR_DOMAIN_SHUTOFF_SHUTDOWN, lv.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN);
  });
}

export function reboot(domains: Domains, domain: SimDomain): void {
  domain.requireActive();
  whenGuestReacts(domains, domain, () => guestReboots(domains, domain));
}

function whenGuestReacts(domains: Domains, domain: SimDomain, run: () => void): void {
  const { id } = domain;
  domains.context.clock.schedule(domains.timing.shutdownMs, () => {
    if (domain.id === id && domain.state === lv.VIR_DOMAIN_RUNNING) run();
  });
}

/** The reset button: at once, also when the guest hangs. */
export function reset(domains: Domains, domain: SimDomain): void {
  const run = domain.requireActive();
  run.agentFromMs = domains.context.clock.steadyMs() + domains.timing.bootMs;
  domains.context.events.domain("reboot", { dom: domain.ref });
}

export function rename(domains: Domains, domain: SimDomain, name: string): void {
  if (domain.isActive) throw operationInvalid("cannot rename active domain");
  if (domain.managedSave !== null) throw operationInvalid("domain with a managed saved state can't be renamed");
  if (domain.snapshotCount > 0) throw operationInvalid("cannot rename domain with snapshots");
  if (name === domain.name)
    throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, "Can't rename domain to itself");
  const taken = domains.named(name);
  if (taken !== undefined)
    throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, `domain with name '${name}' already exists`);
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_UNDEFINED, lv.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED);
  domain.name = name;
  domain.editConfig((root) => {
    const title = find(root, "name");
    if (title !== undefined) title.children.splice(0, title.children.length, name);
  });
  emit(domains, domain, lv.VIR_DOMAIN_EVENT_DEFINED, lv.VIR_DOMAIN_EVENT_DEFINED_RENAMED);
}

/** Memory goes to a file, the guest is off; when the file can't be written, it runs on. */
export function save(domains: Domains, domain: SimDomain, isPaused: boolean, write = nothing): SavedImage {
  const run = domain.requireActive();
  if (domain.job !== null) throw new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "another job is active");
  const wasPaused = domain.isPaused;
  const image: SavedImage = {
    document: run.document ?? domain.config,
    isPaused: isPaused || wasPaused,
    cpuSeconds: domain.vcpuSeconds(),
  };
  if (!wasPaused) {
    domain.setState(lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_SAVE);
    emit(domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, lv.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
  }
  try {
    write();
  } catch (error) {
    if (!wasPaused) resume(domains, domain);
    throw error;
  }
  stop(domains, domain, lv.VIR_DOMAIN_SHUTOFF_SAVED, lv.VIR_DOMAIN_EVENT_STOPPED_SAVED);
  return image;
}

function nothing(): void {}

/** Goes on from saved memory. */
export async function restore(
  domains: Domains,
  domain: SimDomain,
  image: SavedImage,
  isPaused: boolean,
): Promise<void> {
  await start(domains, domain, { ...RESTORED, isPaused, vcpuSeconds: image.cpuSeconds });
  if (domain.run !== null && image.document !== domain.config) domain.run.document = image.document;
}
