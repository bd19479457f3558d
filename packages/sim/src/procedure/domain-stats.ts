// A domain's counters, one kind at a time (virDomainBlockStats … virDomainGetCPUStats of libvirt 9.0).
import { typed } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import {
  VIR_ERR_INVALID_ARG,
  VIR_FROM_DOMAIN,
  VIR_FROM_NONE,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { DiskFact } from "#host/domain/facts.ts";
import { memoryOf } from "#host/domain/guest-memory.ts";
import { cpuTimes, diskCounters, nicCounters, nicDevice } from "#host/domain/stats.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";

function diskNamed(domain: SimDomain, path: string, words: string): DiskFact {
  const disk = domain.facts.disks.find(({ target, source }) => target === path || source === path);
  if (disk !== undefined) return disk;
  throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, words);
}

/** Of one disk, or (an empty path) of all together. */
function counters(domain: SimDomain, path: string): Record<string, bigint> {
  domain.requireActive();
  const disks = path === "" ? domain.facts.disks : [diskNamed(domain, path, `invalid path: ${path}`)];
  const sum: Record<string, bigint> = {};
  for (const disk of disks)
    for (const [name, value] of Object.entries(diskCounters(domain, disk))) sum[name] = (sum[name] ?? 0n) + value;
  return sum;
}

/** virDomainMemoryStatTags (libvirt-domain.h). */
function memoryStats(host: SimHost, domain: SimDomain): { tag: number; val: bigint }[] {
  const run = domain.requireActive();
  const memory = memoryOf(domain, host.clock);
  const isKnown = domain.facts.balloonPeriodS > 0 && host.clock.steadyMs() >= run.agentFromMs;
  const stats: [number, number][] = [
    [6, memory.balloonKiB],
    ...(isKnown
      ? ([
          [0, 0],
          [1, 0],
          [4, memory.unusedKiB],
          [5, memory.availableKiB],
          [8, memory.usableKiB],
        ] as [number, number][])
      : []),
    [9, isKnown ? Math.floor(host.clock.nowMs() / 1000) : 0],
    [7, memory.residentKiB],
  ];
  return stats.map(([tag, value]) => ({ tag, val: BigInt(value) }));
}

export const domainStatsProcedures: Procedures = {
  remote: {
    domainBlockStats: ({ domains }, { dom, path }) => {
      const sum = counters(domains.require(dom), path);
      return {
        rdReq: sum["readRequests"] ?? 0n,
        rdBytes: sum["readBytes"] ?? 0n,
        wrReq: sum["writeRequests"] ?? 0n,
        wrBytes: sum["writeBytes"] ?? 0n,
        errs: -1n,
      };
    },
    domainBlockStatsFlags: ({ domains }, { dom, path, nparams }) => {
      const sum = counters(domains.require(dom), path);
      const names: Readonly<Record<string, string>> = {
        wr_bytes: "writeBytes",
        wr_operations: "writeRequests",
        rd_bytes: "readBytes",
        rd_operations: "readRequests",
        flush_operations: "flushRequests",
        wr_total_times: "writeNs",
        rd_total_times: "readNs",
        flush_total_times: "flushNs",
      };
      const params = Object.fromEntries(
        Object.entries(names).map(([name, counter]) => [name, typed.llong(sum[counter] ?? 0n)]),
      );
      return nparams === 0 ? { params: {}, nparams: Object.keys(params).length } : { params, nparams: 0 };
    },
    domainInterfaceStats: ({ domains }, { dom, device }) => {
      const domain = domains.require(dom);
      domain.requireActive();
      const { nics } = domain.facts;
      const index = nics.findIndex((nic, at) => nicDevice(domain, at) === device || nic.mac === device);
      const nic = nics[index];
      if (nic === undefined)
        throw new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_DOMAIN, `'${device}' is not a known interface`);
      const sum = nicCounters(domain, nic, nics.length);
      return {
        rxBytes: sum.receivedBytes,
        rxPackets: sum.receivedPackets,
        rxErrs: 0n,
        rxDrop: 0n,
        txBytes: sum.sentBytes,
        txPackets: sum.sentPackets,
        txErrs: 0n,
        txDrop: 0n,
      };
    },
    domainMemoryStats: (host, { dom, maxStats }) => ({
      stats: memoryStats(host, host.domains.require(dom)).slice(0, maxStats),
    }),
    domainGetBlockInfo: ({ domains, disks }, { dom, path }) => {
      const disk = diskNamed(domains.require(dom), path, `invalid path ${path} not assigned to domain`);
      if (disk.source === undefined)
        throw new SimError(
          VIR_ERR_INVALID_ARG,
          VIR_FROM_QEMU,
          `disk '${path}' does not currently have a source assigned`,
        );
      const file = disks.find(disk.source);
      if (file === undefined)
        throw new SimError(
          VIR_ERR_INVALID_ARG,
          VIR_FROM_NONE,
          `cannot stat file '${disk.source}': No such file or directory`,
        );
      const { allocationBytes, capacityBytes, physicalBytes } = file;
      return { allocation: BigInt(allocationBytes), capacity: BigInt(capacityBytes), physical: BigInt(physicalBytes) };
    },
    domainGetCpuStats: ({ domains, node }, { dom, nparams, startCpu, ncpus }) => {
      const domain = domains.require(dom);
      domain.requireActive();
      const { totalNs, userNs, systemNs } = cpuTimes(domain);
      if (startCpu === -1) return limited({ cpu_time: totalNs, user_time: userNs, system_time: systemNs }, 3, nparams);
      if (nparams === 0 && ncpus === 0) return { params: {}, nparams: node.cpuCount };
      return limited({ cpu_time: totalNs / BigInt(node.cpuCount) }, 1, nparams);
    },
  },
};

function limited(
  params: Record<string, bigint>,
  count: number,
  nparams: number,
): { params: Record<string, bigint>; nparams: number } {
  return { params: nparams === 0 ? {} : params, nparams: count };
}
