/**
 * One guest as its host has it. Invariant: a guest whose XML holds things Innkeeper does not model is read all the same;
 * one that disappears while it is read is undefined, not an error. Reading the XML is nine tenths of the cost: where it is
 * known already, it is only compared.
 */
import { hash } from "node:crypto";
import {
  type NonnullDomain,
  VIR_CONNECT_LIST_DOMAINS_AUTOSTART,
  VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT,
  VIR_CONNECT_LIST_DOMAINS_PERSISTENT,
  VIR_DOMAIN_STATS_STATE,
  VIR_DOMAIN_XML_INACTIVE,
  type CallOptions,
  type Connection,
} from "@innkeeper/libvirt";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { goneIsUndefined, isLibvirtCode } from "#libvirt/error.ts";
import { readXml } from "#libvirt/read-xml.ts";
import type { Guest, UnchangedGuest } from "#virtualization/port.ts";
import { pendingChanges, withConfiguredModel, withoutFullPins } from "./domain-xml/compare.ts";
import { domainRef } from "./driver-context.ts";
import { child, text } from "./domain-xml/element.ts";
import { agentConnected } from "./domain-xml/hardware.ts";
import { stateDetail } from "./disk-error.ts";
import { readMetadata } from "./domain-xml/metadata.ts";
import { readSpec } from "./domain-xml/spec.ts";
import { readForeignSnapshots } from "./foreign-snapshot.ts";
import { stateName } from "./state.ts";

type Remote = Connection["remote"];

interface Facts {
  readonly dom: NonnullDomain;
  readonly state: number;
  readonly reason: number;
  readonly persistent: boolean;
  readonly autostart: boolean;
  readonly hasSnapshots: boolean;
}

/** What the host told of a guest, its documents as text. */
interface Look {
  readonly guest: UnchangedGuest;
  readonly active: boolean;
  readonly present: string;
  /** What the next start has, of a guest that runs. */
  readonly persistent: string | undefined;
  readonly cpuCount: number;
}

/** All guests of the host: five listing calls, then a few per guest. `finish` makes of each what is wanted. */
export async function readGuests<T>(remote: Remote, options: CallOptions, finish: (look: Look) => T): Promise<T[]> {
  const list = async (flags: number): Promise<readonly NonnullDomain[]> =>
    (await remote.connectListAllDomains({ needResults: 1, flags }, options)).domains;
  const uuids = async (flags: number): Promise<Set<string>> => new Set((await list(flags)).map((dom) => dom.uuid));
  const [all, persistent, autostart, withSnapshots, states] = await Promise.all([
    list(0),
    uuids(VIR_CONNECT_LIST_DOMAINS_PERSISTENT),
    uuids(VIR_CONNECT_LIST_DOMAINS_AUTOSTART),
    uuids(VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT).catch(ignoreUnsupported),
    readStates(remote, options),
  ]);
  const guests = await Promise.all(
    all.map(async (dom) => {
      const known = states.get(dom.uuid) ?? (await remote.domainGetState({ dom }, options).catch(goneIsUndefined));
      if (known === undefined) return undefined;
      const facts = {
        dom,
        ...known,
        persistent: persistent.has(dom.uuid),
        autostart: autostart.has(dom.uuid),
        hasSnapshots: withSnapshots.has(dom.uuid),
      };
      const look = await lookAt(remote, facts, options).catch(goneIsUndefined);
      return look && finish(look);
    }),
  );
  return guests.filter((guest) => guest !== undefined);
}

/** One guest; LibvirtError VIR_ERR_NO_DOMAIN when there is none. */
export async function readGuest(remote: Remote, uuid: string, options: CallOptions): Promise<Guest> {
  return wholeGuest(await lookAtOne(remote, uuid, options));
}

/** The same, without what its documents say if they have the mark. */
export async function readChangedGuest(
  remote: Remote,
  uuid: string,
  mark: string | undefined,
  options: CallOptions,
): Promise<Guest | UnchangedGuest> {
  return changedGuest(await lookAtOne(remote, uuid, options), mark);
}

export function changedGuest(look: Look, mark: string | undefined): Guest | UnchangedGuest {
  return look.guest.mark === mark ? look.guest : wholeGuest(look);
}

async function lookAtOne(remote: Remote, uuid: string, options: CallOptions): Promise<Look> {
  const ref = { dom: domainRef(uuid) };
  const [{ dom }, { state, reason }, { persistent }, { autostart }] = await Promise.all([
    remote.domainLookupByUuid({ uuid }, options),
    remote.domainGetState(ref, options),
    remote.domainIsPersistent(ref, options),
    remote.domainGetAutostart(ref, options).catch((error: unknown) => {
      if (isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) return { autostart: 0 };
      throw error;
    }),
  ]);
  const facts = { dom, state, reason, persistent: persistent === 1, autostart: autostart === 1, hasSnapshots: true };
  return await lookAt(remote, facts, options);
}

async function readStates(
  remote: Remote,
  options: CallOptions,
): Promise<Map<string, { state: number; reason: number }>> {
  const answer = await remote
    .connectGetAllDomainStats({ doms: [], stats: VIR_DOMAIN_STATS_STATE }, options)
    .catch((error: unknown) => {
      if (isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) return { retStats: [] };
      throw error;
    });
  return new Map(
    answer.retStats.map(({ dom, params }) => [
      dom.uuid,
      { state: Number(params["state.state"] ?? 0), reason: Number(params["state.reason"] ?? 0) },
    ]),
  );
}

async function lookAt(remote: Remote, facts: Facts, options: CallOptions): Promise<Look> {
  const { dom } = facts;
  const state = stateName(facts.state, dom.id >= 0);
  const active = isActive({ state });
  const document = async (flags: number): Promise<string> =>
    (await remote.domainGetXmlDesc({ dom, flags }, options)).xml;
  const [present, persistent, foreignSnapshots, savedMemory, detail] = await Promise.all([
    document(0),
    active && facts.persistent ? document(VIR_DOMAIN_XML_INACTIVE) : undefined,
    facts.hasSnapshots ? readForeignSnapshots(remote, dom, options) : [],
    active ? { result: 0 } : remote.domainHasManagedSaveImage({ dom }, options).catch(noneIfUnsupported),
    stateDetail(remote, dom, { ...facts, name: state }, options),
  ]);
  const cpuCount = await hostCpuCount(remote, options);
  const parts = [active, facts.autostart, cpuCount, persistent?.length ?? 0, persistent ?? "", present];
  const guest: UnchangedGuest = {
    uuid: dom.uuid,
    name: dom.name,
    state,
    stateDetail: detail,
    persistent: facts.persistent,
    autostart: facts.autostart,
    foreignSnapshotCount: foreignSnapshots.length,
    foreignSnapshots,
    hasSavedMemory: savedMemory.result === 1,
    mark: hash("sha256", parts.join(" "), "base64"),
  };
  return { guest, active, present, persistent, cpuCount };
}

export function wholeGuest({ guest, active, cpuCount, ...texts }: Look): Guest {
  const present = readXml(texts.present);
  const persistent = texts.persistent === undefined ? undefined : readXml(texts.persistent);
  const configured = persistent ?? present;
  const liveSpec = withoutFullPins(readSpec(present), cpuCount);
  const nextSpec = persistent && withoutFullPins(readSpec(persistent), cpuCount);
  return {
    ...guest,
    spec: { ...(nextSpec ? withConfiguredModel(liveSpec, nextSpec) : liveSpec), autostart: guest.autostart },
    pendingChanges: nextSpec ? pendingChanges(liveSpec, nextSpec) : [],
    guestAgentConnected: active && agentConnected(present),
    metadata: readMetadata(configured),
    description: text(child(configured, "description")) ?? text(child(configured, "title")) ?? "",
  };
}

const cpuCounts = new WeakMap<Remote, number>();

/** Of the host, remembered per connection: CPUs are not added to a machine behind its daemon's back. */
export async function hostCpuCount(remote: Remote, options: CallOptions): Promise<number> {
  const known = cpuCounts.get(remote);
  if (known !== undefined) return known;
  const info = await remote.nodeGetInfo({}, options);
  const count = info.nodes * info.sockets * info.cores * info.threads;
  cpuCounts.set(remote, count);
  return count;
}

function noneIfUnsupported(error: unknown): { result: number } {
  if (isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) return { result: 0 };
  throw error;
}

function ignoreUnsupported(error: unknown): Set<string> {
  if (isLibvirtCode(error, "VIR_ERR_NO_SUPPORT") || isLibvirtCode(error, "VIR_ERR_INVALID_ARG")) return new Set();
  throw error;
}
