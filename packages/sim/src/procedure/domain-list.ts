// Finding domains and asking what they are (virConnectListAllDomains, virDomainLookupBy…, virDomainGet… of libvirt 9.0).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import type { NonnullDomain } from "@innkeeper/libvirt/generated/remote-type.ts";
import { VIR_ERR_INVALID_ARG, VIR_FROM_QEMU } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { ALL_STATS, cpuTimes, domainStats } from "#host/domain/stats.ts";
import { stripLive } from "#host/domain/live.ts";
import { getMetadata } from "#host/domain/metadata.ts";
import { rootOf } from "#host/domain/impact.ts";
import { format, textOf } from "#xml/element.ts";
import { readDefinition } from "#host/domain/definition.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";

/** Each group of filters: the flag and what it wants. Within a group one is enough. */
const FILTERS: readonly (readonly (readonly [flag: number, has: (domain: SimDomain) => boolean])[])[] = [
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_ACTIVE, (domain) => domain.isActive],
    [lv.VIR_CONNECT_LIST_DOMAINS_INACTIVE, (domain) => !domain.isActive],
  ],
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_PERSISTENT, (domain) => domain.isPersistent],
    [lv.VIR_CONNECT_LIST_DOMAINS_TRANSIENT, (domain) => !domain.isPersistent],
  ],
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_RUNNING, ({ state }) => state === lv.VIR_DOMAIN_RUNNING],
    [lv.VIR_CONNECT_LIST_DOMAINS_PAUSED, ({ state }) => state === lv.VIR_DOMAIN_PAUSED],
    [lv.VIR_CONNECT_LIST_DOMAINS_SHUTOFF, ({ state }) => state === lv.VIR_DOMAIN_SHUTOFF],
    [
      lv.VIR_CONNECT_LIST_DOMAINS_OTHER,
      ({ state }) =>
        !([lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_SHUTOFF] as number[]).includes(state),
    ],
  ],
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, (domain) => domain.managedSave !== null],
    [lv.VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE, (domain) => domain.managedSave === null],
  ],
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_AUTOSTART, ({ autostart }) => autostart],
    [lv.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART, ({ autostart }) => !autostart],
  ],
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT, ({ snapshotCount }) => snapshotCount > 0],
    [lv.VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT, ({ snapshotCount }) => snapshotCount === 0],
  ],
  [
    [lv.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT, () => false],
    [lv.VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT, () => true],
  ],
];

function listed(host: SimHost, flags: number): SimDomain[] {
  const wanted = FILTERS.map((group) => group.filter(([flag]) => (flags & flag) !== 0)).filter(
    (group) => group.length > 0,
  );
  return [...host.domains.all].filter((domain) => wanted.every((group) => group.some(([, has]) => has(domain))));
}

function actives(host: SimHost): SimDomain[] {
  return [...host.domains.all].filter(({ isActive }) => isActive);
}

function inactives(host: SimHost): SimDomain[] {
  return [...host.domains.all].filter(({ isActive }) => !isActive);
}

export function domainXml(domain: SimDomain, flags: number): string {
  const isInactive = (flags & lv.VIR_DOMAIN_XML_INACTIVE) !== 0;
  const isMigratable = (flags & lv.VIR_DOMAIN_XML_MIGRATABLE) !== 0;
  if (!domain.isActive || (isInactive && domain.isPersistent)) return domain.config.text();
  if (!isInactive && !isMigratable) return domain.liveText();
  const root = domain.liveRoot();
  stripLive(root);
  return format(root);
}

export const domainListProcedures: Procedures = {
  remote: {
    connectListAllDomains: (host, { needResults, flags }) => {
      const domains = listed(host, flags);
      return { domains: needResults === 0 ? [] : domains.map(({ ref }) => ref), ret: domains.length };
    },
    connectNumOfDomains: (host) => ({ num: actives(host).length }),
    connectListDomains: (host, { maxids }) => ({
      ids: actives(host)
        .slice(0, maxids)
        .map(({ id }) => id),
    }),
    connectNumOfDefinedDomains: (host) => ({ num: inactives(host).length }),
    connectListDefinedDomains: (host, { maxnames }) => ({
      names: inactives(host)
        .slice(0, maxnames)
        .map(({ name }) => name),
    }),
    domainLookupById: ({ domains }, { id }) => ({ dom: domains.byId(id).ref }),
    domainLookupByName: ({ domains }, { name }) => ({ dom: domains.byName(name).ref }),
    domainLookupByUuid: ({ domains }, { uuid }) => ({ dom: domains.byUuid(uuid).ref }),
    domainGetXmlDesc: ({ domains }, { dom, flags }) => ({ xml: domainXml(domains.require(dom), flags) }),
    domainGetState: ({ domains }, { dom }) => {
      const { state, reason } = domains.require(dom);
      return { state, reason };
    },
    domainGetInfo: ({ domains }, { dom }) => {
      const domain = domains.require(dom);
      const { facts, run, state } = domain;
      const cpuTime = run === null ? 0n : cpuTimes(domain).totalNs;
      const memory = BigInt(run?.balloonKiB ?? facts.currentKiB);
      return { state, maxMem: BigInt(facts.memoryKiB), memory, nrVirtCpu: facts.vcpus, cpuTime };
    },
    domainGetControlInfo: ({ domains }, { dom }) => {
      const domain = domains.require(dom);
      domain.requireActive();
      return {
        state: domain.job === null ? lv.VIR_DOMAIN_CONTROL_OK : lv.VIR_DOMAIN_CONTROL_JOB,
        details: 0,
        stateTime: 0n,
      };
    },
    domainIsActive: ({ domains }, { dom }) => ({ active: domains.require(dom).isActive ? 1 : 0 }),
    domainIsPersistent: ({ domains }, { dom }) => ({ persistent: domains.require(dom).isPersistent ? 1 : 0 }),
    domainIsUpdated: ({ domains }, { dom }) => {
      domains.require(dom);
      return { updated: 0 };
    },
    domainGetOsType: ({ domains }, { dom }) => {
      domains.require(dom);
      return { type: "hvm" };
    },
    domainGetMaxMemory: ({ domains }, { dom }) => ({ memory: BigInt(domains.require(dom).facts.memoryKiB) }),
    domainGetMaxVcpus: ({ domains }, { dom }) => ({ num: domains.require(dom).facts.maxVcpus }),
    domainGetAutostart: ({ domains }, { dom }) => ({ autostart: domains.require(dom).autostart ? 1 : 0 }),
    domainHasManagedSaveImage: ({ domains }, { dom }) => ({
      result: domains.require(dom).managedSave === null ? 0 : 1,
    }),
    domainGetMetadata: ({ domains }, { dom, type, uri, flags }) => {
      const domain = domains.require(dom);
      return { metadata: getMetadata(rootOf(domain, flags), type, uri ?? null) };
    },
    domainGetMessages: ({ domains }, { dom }) => {
      domains.require(dom);
      return { msgs: [] };
    },
    domainGetSecurityLabel: ({ domains }, { dom }) => {
      domains.require(dom);
      return { label: "", enforcing: 0 };
    },
    domainGetSecurityLabelList: ({ domains }, { dom }) => {
      domains.require(dom);
      return { labels: [], ret: 0 };
    },
    domainGetDiskErrors: ({ domains }, { dom }) => {
      domains.require(dom).requireActive();
      return { errors: [], nerrors: 0 };
    },
    domainListAllCheckpoints: ({ domains }, { dom }) => {
      domains.require(dom);
      return { checkpoints: [], ret: 0 };
    },
    domainGetLaunchSecurityInfo: () => ({ params: {} }),
    connectGetAllDomainStats: (host, { doms, stats, flags }) => {
      const groups = stats === 0 ? ALL_STATS : stats;
      // The filters are those of the list of domains; higher bits are the statistics' own.
      const domains = doms.length > 0 ? existing(host, doms) : listed(host, flags & LIST_FLAGS);
      return { retStats: domains.map((domain) => ({ dom: domain.ref, params: domainStats(host, domain, groups) })) };
    },
    connectDomainXmlToNative: ({ random }, { nativeFormat, domainXml: xml }) => {
      if (nativeFormat !== "qemu-argv")
        throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, `unsupported config type ${nativeFormat}`);
      const root = readDefinition(xml, random);
      const binary = textOf(root, "devices", "emulator") ?? "";
      return { nativeConfig: `${binary} -name guest=${textOf(root, "name") ?? ""},debug-threads=on -S` };
    },
  },
};

const LIST_FLAGS = 0xff;

/** Those that are gone are left out (virDomainObjListConvert without ENFORCE). */
function existing(host: SimHost, doms: readonly NonnullDomain[]): SimDomain[] {
  return doms.flatMap(({ uuid }) => host.domains.find(uuid) ?? []);
}
