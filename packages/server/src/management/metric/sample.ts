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

export const noDisk: DiskCounters = {
  readBytes: 0,
  writeBytes: 0,
  readRequests: 0,
  writeRequests: 0,
  readNs: 0,
  writeNs: 0,
};

/** Places in `numbers`; after them come six for each disk. */
const place = { atMs: 0, cpuNs: 1, readyNs: 2, swapMiB: 3, receivedBytes: 4, sentBytes: 5 };
const firstDisk = 6;
const perDisk = 6;

/** Numbers only, so that those of a guest can be written over the ones before. */
export interface VmCounters {
  readonly targets: readonly string[];
  readonly numbers: Float64Array;
}

export function vmCounters(statistics: VmStatistics, atMs: number): VmCounters {
  const { cpuTimeNs, vcpus, memory, disks, nics } = statistics;
  const numbers = new Float64Array(firstDisk + perDisk * disks.length);
  numbers[place.atMs] = atMs;
  numbers[place.cpuNs] = cpuTimeNs;
  numbers[place.readyNs] = sum(vcpus, (vcpu) => vcpu.delayNs ?? Number.NaN);
  numbers[place.swapMiB] = (memory.swapInMiB ?? Number.NaN) + (memory.swapOutMiB ?? Number.NaN);
  numbers[place.receivedBytes] = sum(nics, (nic) => nic.receivedBytes);
  numbers[place.sentBytes] = sum(nics, (nic) => nic.sentBytes);
  for (const [index, disk] of disks.entries()) {
    const { readBytes, writeBytes, readRequests, writeRequests, readTimeNs, writeTimeNs } = disk;
    const times = [readTimeNs ?? Number.NaN, writeTimeNs ?? Number.NaN];
    numbers.set([readBytes, writeBytes, readRequests, writeRequests, ...times], firstDisk + perDisk * index);
  }
  return { targets: disks.map(({ target }) => target), numbers };
}

/**
 * What to keep of a guest: `kept` itself, with the numbers of `now`, while the disks are the same. V8 would have to move new
 * objects into its old generation, and collect them there: with 50,000 guests, 2,500 a second.
 */
export function keptCounters(kept: VmCounters | undefined, now: VmCounters): VmCounters {
  const { targets, numbers } = now;
  if (kept?.targets.length !== targets.length || !targets.every((target, index) => target === kept.targets[index])) {
    return now;
  }
  kept.numbers.set(numbers);
  return kept;
}

function counter({ numbers }: VmCounters, name: keyof typeof place): number {
  return numbers[place[name]] ?? Number.NaN;
}

function diskAt({ numbers }: VmCounters, index: number): DiskCounters {
  const at = (offset: number): number => numbers[firstDisk + perDisk * index + offset] ?? Number.NaN;
  return {
    readBytes: at(0),
    writeBytes: at(1),
    readRequests: at(2),
    writeRequests: at(3),
    readNs: at(4),
    writeNs: at(5),
  };
}

function allDisks(counters: VmCounters): DiskCounters {
  return counters.targets.reduce((total, _target, index) => addDisks(total, diskAt(counters, index)), noDisk);
}

/** What each disk did in a second, by its target; not of one that came in between, or went back. */
export function diskActivity(before: VmCounters, now: VmCounters): Map<string, DiskCounters> {
  const seconds = secondsBetween(before, now);
  const activity = new Map<string, DiskCounters>();
  for (const [index, target] of now.targets.entries()) {
    const place = before.targets.indexOf(target);
    if (place < 0) continue;
    const [earlier, later] = [diskAt(before, place), diskAt(now, index)];
    if (later.readBytes < earlier.readBytes || later.writeBytes < earlier.writeBytes) continue;
    activity.set(target, perSecond(earlier, later, seconds));
  }
  return activity;
}

function secondsBetween(before: VmCounters, now: VmCounters): number {
  return (counter(now, "atMs") - counter(before, "atMs")) / 1000;
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
  const seconds = secondsBetween(before, now);
  const rise = (name: keyof typeof place): number => risen(counter(before, name), counter(now, name));
  if (seconds <= 0 || counter(now, "cpuNs") < counter(before, "cpuNs")) return undefined;
  const { memory, vcpus } = statistics;
  const cpuNs = Math.max(1, vcpus.length) * seconds * 1e9;
  return valuesOf({
    cpuUsagePct: Math.min(100, (rise("cpuNs") / cpuNs) * 100),
    cpuReadyPct: vcpus.length === 0 ? Number.NaN : (rise("readyNs") / cpuNs) * 100,
    memoryActiveMiB: (memory.guestAvailableMiB ?? Number.NaN) - (memory.guestUnusedMiB ?? Number.NaN),
    memoryConsumedMiB: memory.residentMiB ?? Number.NaN,
    memoryBalloonedMiB: Math.max(0, memory.maxMiB - memory.balloonMiB),
    memorySwapKiBps: (rise("swapMiB") * 1024) / seconds,
    ...diskRates(perSecond(allDisks(before), allDisks(now), seconds)),
    networkReceiveKiBps: rise("receivedBytes") / 1024 / seconds,
    networkTransmitKiBps: rise("sentBytes") / 1024 / seconds,
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
