// A domain's counters in libvirt's words, all in one (virConnectGetAllDomainStats; qemuDomainGetStats… in libvirt 9.0
// src/qemu/qemu_driver.c), computed from the load curve at the moment that they are asked for.
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import { typed } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import type { TypedValue } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import type { HostContext } from "#host/context.ts";
import { hashFraction } from "#host/random.ts";
import { memoryOf } from "./guest-memory.ts";
import type { DiskFact, NicFact } from "./facts.ts";
import type { SimDomain } from "./sim-domain.ts";

type Stats = Record<string, number | bigint | string | TypedValue>;

export const ALL_STATS =
  lv.VIR_DOMAIN_STATS_STATE |
  lv.VIR_DOMAIN_STATS_CPU_TOTAL |
  lv.VIR_DOMAIN_STATS_BALLOON |
  lv.VIR_DOMAIN_STATS_VCPU |
  lv.VIR_DOMAIN_STATS_INTERFACE |
  lv.VIR_DOMAIN_STATS_BLOCK |
  lv.VIR_DOMAIN_STATS_PERF |
  lv.VIR_DOMAIN_STATS_IOTHREAD |
  lv.VIR_DOMAIN_STATS_MEMORY |
  lv.VIR_DOMAIN_STATS_DIRTYRATE;

export function domainStats(host: HostContext, domain: SimDomain, groups: number): Stats {
  const stats: Stats = {};
  const has = (group: number): boolean => (groups & group) !== 0;
  if (has(lv.VIR_DOMAIN_STATS_STATE)) {
    stats["state.state"] = domain.state;
    stats["state.reason"] = domain.reason;
  }
  if (has(lv.VIR_DOMAIN_STATS_CPU_TOTAL) && domain.isActive) cpu(domain, stats);
  if (has(lv.VIR_DOMAIN_STATS_BALLOON)) balloon(host, domain, stats);
  if (has(lv.VIR_DOMAIN_STATS_VCPU)) vcpus(domain, stats);
  if (has(lv.VIR_DOMAIN_STATS_INTERFACE) && domain.isActive) nics(domain, stats);
  if (has(lv.VIR_DOMAIN_STATS_BLOCK)) disks(host, domain, stats);
  return stats;
}

/** QEMU's own threads need some beside the guest. */
const EMULATOR_PART = 0.04;

export interface CpuTimes {
  readonly totalNs: bigint;
  readonly userNs: bigint;
  readonly systemNs: bigint;
}

export function cpuTimes(domain: SimDomain): CpuTimes {
  const seconds = domain.vcpuSeconds() * (1 + EMULATOR_PART);
  const userNs = nano(seconds * 0.8);
  const systemNs = nano(seconds * 0.2);
  return { totalNs: userNs + systemNs, userNs, systemNs };
}

function cpu(domain: SimDomain, stats: Stats): void {
  const { totalNs, userNs, systemNs } = cpuTimes(domain);
  stats["cpu.time"] = totalNs;
  stats["cpu.user"] = userNs;
  stats["cpu.system"] = systemNs;
}

function balloon(host: HostContext, domain: SimDomain, stats: Stats): void {
  const { facts, run } = domain;
  stats["balloon.current"] = BigInt(run?.balloonKiB ?? facts.currentKiB);
  stats["balloon.maximum"] = BigInt(facts.memoryKiB);
  if (run === null) return;
  const memory = memoryOf(domain, host.clock);
  if (facts.balloonPeriodS > 0 && host.clock.steadyMs() >= run.agentFromMs) {
    stats["balloon.swap_in"] = 0n;
    stats["balloon.swap_out"] = 0n;
    stats["balloon.major_fault"] = BigInt(Math.floor(domain.ioSeconds() * 3));
    stats["balloon.minor_fault"] = BigInt(Math.floor(domain.ioSeconds() * 4_000));
    stats["balloon.unused"] = BigInt(memory.unusedKiB);
    stats["balloon.available"] = BigInt(memory.availableKiB);
    stats["balloon.usable"] = BigInt(memory.usableKiB);
    stats["balloon.disk_caches"] = BigInt(memory.usableKiB - memory.unusedKiB);
  }
  stats["balloon.last-update"] = BigInt(facts.balloonPeriodS > 0 ? Math.floor(host.clock.nowMs() / 1000) : 0);
  stats["balloon.rss"] = BigInt(memory.residentKiB);
}

/** Of a vCPU's time, what it waited for a CPU of the host: a little, more on some. */
function delayPart(domain: SimDomain): number {
  return 0.002 + 0.03 * hashFraction(domain.uuid, "delay") ** 4;
}

function vcpus(domain: SimDomain, stats: Stats): void {
  const { facts } = domain;
  stats["vcpu.current"] = typed.uint(facts.vcpus);
  stats["vcpu.maximum"] = typed.uint(facts.maxVcpus);
  if (!domain.isActive) return;
  const eachNs = Math.round((domain.vcpuSeconds() / Math.max(1, facts.vcpus)) * 1e6);
  const delay = delayPart(domain);
  for (let vcpu = 0; vcpu < facts.vcpus; vcpu += 1) {
    stats[`vcpu.${vcpu}.state`] = 1; // VIR_VCPU_RUNNING
    stats[`vcpu.${vcpu}.time`] = BigInt(eachNs) * 1000n;
    stats[`vcpu.${vcpu}.wait`] = 0n;
    stats[`vcpu.${vcpu}.delay`] = BigInt(Math.round(eachNs * delay)) * 1000n;
  }
}

export interface NicCounters {
  readonly receivedBytes: bigint;
  readonly receivedPackets: bigint;
  readonly sentBytes: bigint;
  readonly sentPackets: bigint;
}

export function nicCounters(domain: SimDomain, nic: NicFact, count: number): NicCounters {
  const { netBytesPerS } = domain.curve.profile;
  const bytes = (domain.ioSeconds() * netBytesPerS) / Math.max(1, count);
  const received = 0.3 + 0.4 * hashFraction(nic.mac, "received");
  return {
    receivedBytes: whole(bytes * received),
    receivedPackets: whole((bytes * received) / 850),
    sentBytes: whole(bytes * (1 - received)),
    sentPackets: whole((bytes * (1 - received)) / 850),
  };
}

function nics(domain: SimDomain, stats: Stats): void {
  const { nics: cards } = domain.facts;
  stats["net.count"] = typed.uint(cards.length);
  for (const [index, nic] of cards.entries()) {
    const name = nicDevice(domain, index);
    if (name === undefined) continue;
    const counters = nicCounters(domain, nic, cards.length);
    const at = `net.${index}`;
    stats[`${at}.name`] = name;
    stats[`${at}.rx.bytes`] = counters.receivedBytes;
    stats[`${at}.rx.pkts`] = counters.receivedPackets;
    stats[`${at}.rx.errs`] = 0n;
    stats[`${at}.rx.drop`] = 0n;
    stats[`${at}.tx.bytes`] = counters.sentBytes;
    stats[`${at}.tx.pkts`] = counters.sentPackets;
    stats[`${at}.tx.errs`] = 0n;
    stats[`${at}.tx.drop`] = 0n;
  }
}

/** The card's device on the host; user-mode cards have none. */
export function nicDevice(domain: SimDomain, index: number): string | undefined {
  const { run, facts } = domain;
  const nic = facts.nics[index];
  if (run === null || nic === undefined) return undefined;
  if (nic.device !== undefined) return nic.device;
  if (!hasDevice(nic)) return undefined;
  const before = facts.nics.slice(0, index).filter((each) => hasDevice(each) && each.device === undefined).length;
  return `${nic.type === "direct" ? "macvtap" : "vnet"}${run.firstVnet + before}`;
}

export interface DiskCounters {
  readonly readRequests: bigint;
  readonly readBytes: bigint;
  readonly readNs: bigint;
  readonly writeRequests: bigint;
  readonly writeBytes: bigint;
  readonly writeNs: bigint;
  readonly flushRequests: bigint;
  readonly flushNs: bigint;
}

export function diskCounters(domain: SimDomain, disk: DiskFact): DiskCounters {
  const isIdle = disk.device !== "disk" || disk.source === undefined;
  const count = Math.max(1, domain.facts.disks.filter((each) => each.device === "disk").length);
  const bytes = isIdle ? 0 : (domain.ioSeconds() * domain.curve.profile.diskBytesPerS) / count;
  const read = 0.2 + 0.4 * hashFraction(domain.uuid, disk.target);
  const readRequests = (bytes * read) / 24_000;
  const writeRequests = (bytes * (1 - read)) / 16_000;
  // Half a millisecond a request, two where the storage is slow.
  const requestNs = 500_000 * (1 + 3 * hashFraction(domain.uuid, disk.target, "latency") ** 6);
  return {
    readRequests: whole(readRequests),
    readBytes: whole(bytes * read),
    readNs: whole(readRequests * requestNs),
    writeRequests: whole(writeRequests),
    writeBytes: whole(bytes * (1 - read)),
    writeNs: whole(writeRequests * requestNs * 1.4),
    flushRequests: whole(writeRequests / 12),
    flushNs: whole((writeRequests / 12) * requestNs * 3),
  };
}

function disks(host: HostContext, domain: SimDomain, stats: Stats): void {
  const { disks: list } = domain.facts;
  stats["block.count"] = typed.uint(list.length);
  for (const [index, disk] of list.entries()) {
    const at = `block.${index}`;
    stats[`${at}.name`] = disk.target;
    if (disk.source !== undefined) stats[`${at}.path`] = disk.source;
    if (domain.isActive) {
      const counters = diskCounters(domain, disk);
      if (disk.source !== undefined) stats[`${at}.backingIndex`] = typed.uint(list.length - index);
      stats[`${at}.rd.reqs`] = counters.readRequests;
      stats[`${at}.rd.bytes`] = counters.readBytes;
      stats[`${at}.rd.times`] = counters.readNs;
      stats[`${at}.wr.reqs`] = counters.writeRequests;
      stats[`${at}.wr.bytes`] = counters.writeBytes;
      stats[`${at}.wr.times`] = counters.writeNs;
      stats[`${at}.fl.reqs`] = counters.flushRequests;
      stats[`${at}.fl.times`] = counters.flushNs;
    }
    const file = disk.source === undefined ? undefined : host.disks.find(disk.source);
    if (file === undefined) continue;
    stats[`${at}.allocation`] = BigInt(file.allocationBytes);
    stats[`${at}.capacity`] = BigInt(file.capacityBytes);
    stats[`${at}.physical`] = BigInt(file.physicalBytes);
  }
}

function nano(value: number): bigint {
  return BigInt(Math.round(value * 1e6)) * 1000n;
}

function whole(value: number): bigint {
  return BigInt(Math.floor(value));
}

function hasDevice(each: NicFact): boolean {
  return ["network", "bridge", "direct", "ethernet"].includes(each.type);
}
