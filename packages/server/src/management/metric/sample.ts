/**
 * Metrics of a moment from libvirt's counters: rates are differences of two samples over the time between them. A counter
 * that went back (the guest was started anew, or moved) gives no rate. Values are in the order of the contract's metrics.
 */
import { type MetricName, metricNames } from "@innkeeper/contract/resource/metric.ts";
import type { VmStatistics } from "@innkeeper/contract/resource/vm.ts";

/** By index of `metricNames`; NaN: not known. */
export type Values = number[];

const indexOf = Object.fromEntries(metricNames.map((name, index) => [name, index])) as Record<MetricName, number>;

export function valueOf(values: ArrayLike<number>, name: MetricName): number {
  return values[indexOf[name]] ?? Number.NaN;
}

export function valuesOf(given: Partial<Record<MetricName, number>>): Values {
  return metricNames.map((name) => given[name] ?? Number.NaN);
}

export interface DiskCounters {
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly readRequests: number;
  readonly writeRequests: number;
  readonly readNs: number;
  readonly writeNs: number;
}

export interface VmCounters extends DiskCounters {
  readonly atMs: number;
  readonly cpuNs: number;
  readonly readyNs: number;
  readonly swapMiB: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Of each disk by itself, by its target. */
  readonly disks: ReadonlyMap<string, DiskCounters>;
}

export function vmCounters(statistics: VmStatistics, atMs: number): VmCounters {
  const { cpuTimeNs, vcpus, memory, disks, nics } = statistics;
  return {
    atMs,
    cpuNs: cpuTimeNs,
    readyNs: sum(vcpus, (vcpu) => vcpu.delayNs ?? Number.NaN),
    swapMiB: (memory.swapInMiB ?? Number.NaN) + (memory.swapOutMiB ?? Number.NaN),
    ...diskCounters(disks),
    receivedBytes: sum(nics, (nic) => nic.receivedBytes),
    sentBytes: sum(nics, (nic) => nic.sentBytes),
    disks: new Map(disks.map((disk) => [disk.target, diskCounters([disk])])),
  };
}

export function diskCounters(disks: VmStatistics["disks"]): DiskCounters {
  return {
    readBytes: sum(disks, (disk) => disk.readBytes),
    writeBytes: sum(disks, (disk) => disk.writeBytes),
    readRequests: sum(disks, (disk) => disk.readRequests),
    writeRequests: sum(disks, (disk) => disk.writeRequests),
    readNs: sum(disks, (disk) => disk.readTimeNs ?? Number.NaN),
    writeNs: sum(disks, (disk) => disk.writeTimeNs ?? Number.NaN),
  };
}

/** What each disk did in a second, by its target; not of one that came in between, or went back. */
export function diskActivity(before: VmCounters, now: VmCounters): Map<string, DiskCounters> {
  const seconds = (now.atMs - before.atMs) / 1000;
  const activity = new Map<string, DiskCounters>();
  for (const [target, counters] of now.disks) {
    const earlier = before.disks.get(target);
    if (earlier === undefined || counters.readBytes < earlier.readBytes || counters.writeBytes < earlier.writeBytes) {
      continue;
    }
    activity.set(target, perSecond(earlier, counters, seconds));
  }
  return activity;
}

function perSecond(before: DiskCounters, now: DiskCounters, seconds: number): DiskCounters {
  return {
    readBytes: risen(before.readBytes, now.readBytes) / seconds,
    writeBytes: risen(before.writeBytes, now.writeBytes) / seconds,
    readRequests: risen(before.readRequests, now.readRequests) / seconds,
    writeRequests: risen(before.writeRequests, now.writeRequests) / seconds,
    readNs: risen(before.readNs, now.readNs) / seconds,
    writeNs: risen(before.writeNs, now.writeNs) / seconds,
  };
}

/** undefined unless the second is of the same run of the guest as the first. */
export function vmValues(before: VmCounters, now: VmCounters, statistics: VmStatistics): Values | undefined {
  const seconds = (now.atMs - before.atMs) / 1000;
  if (seconds <= 0 || now.cpuNs < before.cpuNs) return undefined;
  const { memory, vcpus } = statistics;
  const cpuNs = Math.max(1, vcpus.length) * seconds * 1e9;
  return valuesOf({
    cpuUsagePct: Math.min(100, ((now.cpuNs - before.cpuNs) / cpuNs) * 100),
    cpuReadyPct: vcpus.length === 0 ? Number.NaN : (risen(before.readyNs, now.readyNs) / cpuNs) * 100,
    memoryActiveMiB: (memory.guestAvailableMiB ?? Number.NaN) - (memory.guestUnusedMiB ?? Number.NaN),
    memoryConsumedMiB: memory.residentMiB ?? Number.NaN,
    memoryBalloonedMiB: Math.max(0, memory.maxMiB - memory.balloonMiB),
    memorySwapKiBps: (risen(before.swapMiB, now.swapMiB) * 1024) / seconds,
    ...diskRates(perSecond(before, now, seconds)),
    networkReceiveKiBps: risen(before.receivedBytes, now.receivedBytes) / 1024 / seconds,
    networkTransmitKiBps: risen(before.sentBytes, now.sentBytes) / 1024 / seconds,
  });
}

/** `activity`: what was done in a second. */
export function diskRates(activity: DiskCounters): Partial<Record<MetricName, number>> {
  const { readRequests, writeRequests } = activity;
  return {
    diskReadKiBps: activity.readBytes / 1024,
    diskWriteKiBps: activity.writeBytes / 1024,
    diskReadIops: readRequests,
    diskWriteIops: writeRequests,
    diskReadLatencyMs: readRequests > 0 ? activity.readNs / 1e6 / readRequests : Number.NaN,
    diskWriteLatencyMs: writeRequests > 0 ? activity.writeNs / 1e6 / writeRequests : Number.NaN,
  };
}

/** What the guests of a host come to together; `given` is what the host tells itself. */
export function hostValues(vms: readonly Values[], given: Partial<Record<MetricName, number>>): Values {
  const total = (name: MetricName): number => sumKnown(vms.map((values) => valueOf(values, name)));
  const mean = (name: MetricName, weight: MetricName): number => {
    const known = vms.filter((values) => !Number.isNaN(valueOf(values, name)) && valueOf(values, weight) > 0);
    return (
      sum(known, (values) => valueOf(values, name) * valueOf(values, weight)) /
      sum(known, (values) => valueOf(values, weight))
    );
  };
  const ready = vms.map((values) => valueOf(values, "cpuReadyPct")).filter((value) => !Number.isNaN(value));
  return valuesOf({
    cpuReadyPct: ready.length === 0 ? Number.NaN : sum(ready, (value) => value) / ready.length,
    memoryActiveMiB: total("memoryActiveMiB"),
    memoryBalloonedMiB: total("memoryBalloonedMiB"),
    memorySwapKiBps: total("memorySwapKiBps"),
    diskReadKiBps: total("diskReadKiBps"),
    diskWriteKiBps: total("diskWriteKiBps"),
    diskReadIops: total("diskReadIops"),
    diskWriteIops: total("diskWriteIops"),
    diskReadLatencyMs: mean("diskReadLatencyMs", "diskReadIops"),
    diskWriteLatencyMs: mean("diskWriteLatencyMs", "diskWriteIops"),
    networkReceiveKiBps: total("networkReceiveKiBps"),
    networkTransmitKiBps: total("networkTransmitKiBps"),
    ...given,
  });
}

/** What hosts come to together: means by their CPUs and by their guests, sums of the rest. */
export function hostsValues(
  hosts: readonly { readonly values: Values; readonly cpuCount: number; readonly vmCount: number }[],
): Values {
  const mean = (name: MetricName, weight: "cpuCount" | "vmCount"): number => {
    const known = hosts.filter(({ values }) => !Number.isNaN(valueOf(values, name)));
    return sum(known, (host) => valueOf(host.values, name) * host[weight]) / sum(known, (host) => host[weight]);
  };
  const all = hosts.map(({ values }) => values);
  return hostValues(all, {
    cpuUsagePct: mean("cpuUsagePct", "cpuCount"),
    cpuReadyPct: mean("cpuReadyPct", "vmCount"),
    memoryConsumedMiB: sumKnown(all.map((values) => valueOf(values, "memoryConsumedMiB"))),
  });
}

export function addDisks(a: DiskCounters, b: DiskCounters): DiskCounters {
  return {
    readBytes: a.readBytes + b.readBytes,
    writeBytes: a.writeBytes + b.writeBytes,
    readRequests: a.readRequests + b.readRequests,
    writeRequests: a.writeRequests + b.writeRequests,
    readNs: a.readNs + b.readNs,
    writeNs: a.writeNs + b.writeNs,
  };
}

/** NaN where the counter went back: a disk or card was taken out. */
function risen(before: number, now: number): number {
  return now >= before ? now - before : Number.NaN;
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

/** Of nothing known, nothing is known. */
function sumKnown(values: readonly number[]): number {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.length === 0 && values.length > 0 ? Number.NaN : sum(known, (value) => value);
}
