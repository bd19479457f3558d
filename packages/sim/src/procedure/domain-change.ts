// A domain's hardware and limits change (virDomainAttachDevice … virDomainSetIOThreadParams of libvirt 9.0).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import { VIR_ERR_INVALID_ARG, VIR_FROM_QEMU } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { attach, detach, detachAlias, update } from "#host/domain/device.ts";
import { editBy, impactOf, rootOf } from "#host/domain/impact.ts";
import { setMetadata } from "#host/domain/metadata.ts";
import {
  changeIoThreads,
  cpuSetMap,
  getBlockIoTune,
  getMemoryLimits,
  getScheduler,
  ioThreads,
  pin,
  setBlockIoTune,
  setMemory,
  setMemoryLimits,
  setScheduler,
  setVcpus,
} from "#host/domain/tune.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import type { Element } from "#xml/element.ts";
import { attributeOf, elements, find } from "#xml/element.ts";

function limited<T>(params: Record<string, T>, nparams: number): { params: Record<string, T>; nparams: number } {
  const count = Object.keys(params).length;
  return nparams === 0 ? { params: {}, nparams: count } : { params, nparams: 0 };
}

function pinOf(root: Element, name: string, vcpu?: number): string | undefined {
  const pins = elements(find(root, "cputune"), name);
  const found = pins.find((each) => vcpu === undefined || each.attributes.get("vcpu") === String(vcpu));
  return found?.attributes.get("cpuset") ?? attributeOf(root, "vcpu", "cpuset");
}

function vcpuCount(domain: SimDomain, flags: number): number {
  const isMaximum = (flags & lv.VIR_DOMAIN_VCPU_MAXIMUM) !== 0;
  const facts = impactOf(domain, flags).live ? domain.facts : domain.config.facts();
  return isMaximum ? facts.maxVcpus : facts.vcpus;
}

function pinInfo(
  { node, domains }: SimHost,
  args: { dom: { uuid: string; name: string; id: number }; ncpumaps: number; flags: number },
): {
  cpumaps: Uint8Array;
  num: number;
} {
  const domain = domains.require(args.dom);
  const root = rootOf(domain, args.flags);
  const count = Math.min(args.ncpumaps, domain.facts.maxVcpus);
  const maps = Array.from({ length: count }, (_each, vcpu) => cpuSetMap(pinOf(root, "vcpupin", vcpu), node.cpuCount));
  return { cpumaps: Uint8Array.from(maps.flatMap((map) => [...map])), num: count };
}

export const domainChangeProcedures: Procedures = {
  remote: {
    domainAttachDevice: ({ domains }, { dom, xml }) =>
      attach(domains, domains.require(dom), xml, lv.VIR_DOMAIN_AFFECT_LIVE),
    domainAttachDeviceFlags: ({ domains }, { dom, xml, flags }) => attach(domains, domains.require(dom), xml, flags),
    domainDetachDevice: ({ domains }, { dom, xml }) =>
      detach(domains, domains.require(dom), xml, lv.VIR_DOMAIN_AFFECT_LIVE),
    domainDetachDeviceFlags: ({ domains }, { dom, xml, flags }) => detach(domains, domains.require(dom), xml, flags),
    domainDetachDeviceAlias: ({ domains }, { dom, alias, flags }) =>
      detachAlias(domains, domains.require(dom), alias, flags),
    domainUpdateDeviceFlags: ({ domains }, { dom, xml, flags }) => update(domains, domains.require(dom), xml, flags),
    domainSetMemory: ({ domains }, { dom, memory }) =>
      setMemory(domains, domains.require(dom), Number(memory), lv.VIR_DOMAIN_AFFECT_LIVE, false),
    domainSetMemoryFlags: ({ domains }, { dom, memory, flags }) =>
      setMemory(domains, domains.require(dom), Number(memory), flags, (flags & lv.VIR_DOMAIN_MEM_MAXIMUM) !== 0),
    domainSetMaxMemory: ({ domains }, { dom, memory }) =>
      setMemory(domains, domains.require(dom), Number(memory), 0, true),
    domainSetMemoryStatsPeriod: ({ domains }, { dom, period, flags }) => {
      editBy(domains.require(dom), flags, (root) => {
        const balloon = find(root, "devices", "memballoon");
        if (balloon === undefined || balloon.attributes.get("model") === "none")
          throw new SimError(
            VIR_ERR_INVALID_ARG,
            VIR_FROM_QEMU,
            "Memory balloon model must be virtio to set the collection period",
          );
        const kept = balloon.children.filter((child) => typeof child === "string" || child.name !== "stats");
        const stats = { name: "stats", attributes: new Map([["period", String(period)]]), children: [] };
        balloon.children.splice(0, balloon.children.length, ...(period === 0 ? [] : [stats]), ...kept);
      });
    },
    domainSetVcpus: ({ domains }, { dom, nvcpus }) => setVcpus(domains.require(dom), nvcpus, lv.VIR_DOMAIN_AFFECT_LIVE),
    domainSetVcpusFlags: ({ domains }, { dom, nvcpus, flags }) => setVcpus(domains.require(dom), nvcpus, flags),
    domainGetVcpusFlags: ({ domains }, { dom, flags }) => ({ num: vcpuCount(domains.require(dom), flags) }),
    domainGetVcpus: ({ domains, node }, { dom, maxinfo, maplen }) => {
      const domain = domains.require(dom);
      domain.requireActive();
      const root = domain.liveRoot();
      const count = Math.min(maxinfo, domain.facts.vcpus);
      const cpuTime = BigInt(Math.round((domain.vcpuSeconds() / domain.facts.vcpus) * 1e9));
      const numbers = Array.from({ length: count }, (_each, number) => number);
      const maps = numbers.flatMap((vcpu) => {
        const map = new Uint8Array(maplen);
        map.set(cpuSetMap(pinOf(root, "vcpupin", vcpu), node.cpuCount).subarray(0, maplen));
        return [...map];
      });
      const info = numbers.map((number) => ({
        number,
        state: 1,
        cpuTime,
        cpu: (domain.id * 7 + number) % node.cpuCount,
      }));
      return { info, cpumaps: Uint8Array.from(maps) };
    },
    domainPinVcpu: ({ domains, node }, { dom, vcpu, cpumap }) =>
      pin(domains.require(dom), vcpu, cpumap, node.cpuCount, lv.VIR_DOMAIN_AFFECT_LIVE),
    domainPinVcpuFlags: ({ domains, node }, { dom, vcpu, cpumap, flags }) =>
      pin(domains.require(dom), vcpu, cpumap, node.cpuCount, flags),
    domainPinEmulator: ({ domains, node }, { dom, cpumap, flags }) =>
      pin(domains.require(dom), undefined, cpumap, node.cpuCount, flags),
    domainGetVcpuPinInfo: pinInfo,
    domainGetEmulatorPinInfo: ({ domains, node }, { dom, flags }) => {
      const root = rootOf(domains.require(dom), flags);
      return { cpumaps: cpuSetMap(pinOf(root, "emulatorpin"), node.cpuCount), ret: 1 };
    },
    domainGetSchedulerType: ({ domains }, { dom }) => {
      domains.require(dom);
      return { type: "posix", nparams: 7 };
    },
    domainGetSchedulerParameters: ({ domains }, { dom }) => ({ params: getScheduler(rootOf(domains.require(dom), 0)) }),
    domainGetSchedulerParametersFlags: ({ domains }, { dom, flags }) => ({
      params: getScheduler(rootOf(domains.require(dom), flags)),
    }),
    domainSetSchedulerParameters: ({ domains }, { dom, params }) => setScheduler(domains.require(dom), params, 0),
    domainSetSchedulerParametersFlags: ({ domains }, { dom, params, flags }) =>
      setScheduler(domains.require(dom), params, flags),
    domainSetMemoryParameters: ({ domains }, { dom, params, flags }) =>
      setMemoryLimits(domains.require(dom), params, flags),
    domainGetMemoryParameters: ({ domains }, { dom, nparams, flags }) =>
      limited(getMemoryLimits(rootOf(domains.require(dom), flags)), nparams),
    domainSetBlockIoTune: ({ domains }, { dom, disk, params, flags }) =>
      setBlockIoTune(domains.require(dom), disk, params, flags),
    domainGetBlockIoTune: ({ domains }, { dom, disk, nparams, flags }) => {
      const root = rootOf(domains.require(dom), flags);
      return limited(nparams === 0 ? getBlockIoTune(root) : getBlockIoTune(root, disk ?? ""), nparams);
    },
    domainAddIothread: ({ domains }, { dom, iothreadId, flags }) =>
      changeIoThreads(domains.require(dom), iothreadId, true, flags),
    domainDelIothread: ({ domains }, { dom, iothreadId, flags }) =>
      changeIoThreads(domains.require(dom), iothreadId, false, flags),
    domainGetIothreadInfo: ({ domains, node }, { dom, flags }) => {
      const root = rootOf(domains.require(dom), flags);
      const info = ioThreads(root).map((id) => ({ iothreadId: id, cpumap: cpuSetMap(undefined, node.cpuCount) }));
      return { info, ret: info.length };
    },
    domainSetMetadata: ({ domains, events }, { dom, type, metadata, key, uri, flags }) => {
      const domain = domains.require(dom);
      const change = { type, metadata: metadata ?? null, key: key ?? null, uri: uri ?? null };
      editBy(domain, flags, (root) => setMetadata(root, change));
      events.domain("metadataChange", { dom: domain.ref, type, nsuri: change.uri });
    },
  },
};
