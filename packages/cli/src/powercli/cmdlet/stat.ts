/**
 * Get-Stat: what VMs use now, as the difference of two samples of their counters; the history is in `inn vm metrics`. Metrics have the
 * names and units of vSphere's counters (PerformanceManager): cpu.usage in percent of its vCPUs, the others in KB or KBps.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Vm, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import { valueError } from "#cli-error.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { vmParameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { localTime } from "#output/time.ts";
import { Wildcard } from "#powercli/wildcard.ts";

interface StatObject {
  /** The same as MetricId. */
  readonly Name: string;
  readonly MetricId: string;
  readonly Timestamp: string;
  readonly Value: number;
  readonly Unit: string;
  readonly Entity: string;
  readonly EntityId: string;
  readonly IntervalSecs: number;
}

const statKind: ObjectKind<StatObject> = {
  columns: [
    { name: "MetricId", value: (stat) => stat.MetricId },
    { name: "Timestamp", value: (stat) => localTime(Date.parse(stat.Timestamp)) },
    { name: "Value", value: (stat) => String(stat.Value), right: true },
    { name: "Unit", value: (stat) => stat.Unit },
    { name: "Entity", value: (stat) => stat.Entity, extra: true },
  ],
};

interface Metric {
  readonly id: string;
  readonly unit: string;
  readonly group: "Cpu" | "Memory" | "Disk" | "Network";
  readonly value: (pair: Pair) => number | undefined;
}

interface Pair {
  readonly first: VmStatistics;
  readonly last: VmStatistics;
  readonly seconds: number;
}

const kbps = (pair: Pair, total: (sample: VmStatistics) => number): number =>
  (total(pair.last) - total(pair.first)) / 1024 / pair.seconds;
const sum = <Item>(items: readonly Item[], value: (item: Item) => number): number =>
  items.reduce((total, item) => total + value(item), 0);

const metrics: readonly Metric[] = [
  {
    id: "cpu.usage.average",
    unit: "%",
    group: "Cpu",
    value: ({ first, last, seconds }) =>
      ((last.cpuTimeNs - first.cpuTimeNs) / 1e9 / seconds / Math.max(1, last.vcpus.length)) * 100,
  },
  { id: "mem.granted.average", unit: "KB", group: "Memory", value: ({ last }) => last.memory.balloonMiB * 1024 },
  {
    id: "mem.consumed.average",
    unit: "KB",
    group: "Memory",
    value: ({ last }) => (last.memory.residentMiB === undefined ? undefined : last.memory.residentMiB * 1024),
  },
  {
    id: "disk.read.average",
    unit: "KBps",
    group: "Disk",
    value: (pair) => kbps(pair, ({ disks }) => sum(disks, (disk) => disk.readBytes)),
  },
  {
    id: "disk.write.average",
    unit: "KBps",
    group: "Disk",
    value: (pair) => kbps(pair, ({ disks }) => sum(disks, (disk) => disk.writeBytes)),
  },
  {
    id: "net.received.average",
    unit: "KBps",
    group: "Network",
    value: (pair) => kbps(pair, ({ nics }) => sum(nics, (nic) => nic.receivedBytes)),
  },
  {
    id: "net.transmitted.average",
    unit: "KBps",
    group: "Network",
    value: (pair) => kbps(pair, ({ nics }) => sum(nics, (nic) => nic.sentBytes)),
  },
];

const groups = ["Cpu", "Memory", "Disk", "Network"] as const;
const sampleGapMs = 1000;
const noHistory =
  "Get-Stat shows the present; `inn vm metrics`, `inn host metrics`, `inn cluster metrics` and `inn pool metrics` have the history of a year";

export const getStat: Cmdlet = {
  name: "Get-Stat",
  summary: "Show what VMs use now: CPU, memory, disks, network.",
  operations: ["vmStatistics"],
  parameters: [
    { ...vmParameter, name: "Entity", help: "the VMs" },
    { name: "Stat", list: true, help: `only these: ${metrics.map(({ id }) => id).join(", ")}; with wildcards` },
    { name: "Realtime", type: "switch", help: "the same as without" },
    { name: "MaxSamples", type: "integer", help: "how many, a second apart (default: 1)" },
    { name: "Common", type: "switch", help: "all of them, as without" },
    ...groups.map((name) => ({ name, type: "switch" as const, help: `only those of ${name.toLowerCase()}` })),
  ],
  refused: {
    Start: noHistory,
    Finish: noHistory,
    IntervalMins: noHistory,
    IntervalSecs: noHistory,
    Instance: "`inn vm stats` shows each device",
  },
  examples: ["Get-Stat -Entity web", "Get-Stat web -Stat cpu.usage.average -MaxSamples 10"],
  run: async (run) => {
    const samples = run.bound.number("MaxSamples") ?? 1;
    if (samples < 1) throw valueError("-MaxSamples", "it is at least 1");
    const vms = await run.chosen("Entity", "vm");
    const chosen = wantedMetrics(run);
    let before = await sample(run, vms);
    for (let count = 0; count < samples && before.size > 0; count += 1) {
      await delay(sampleGapMs, undefined, { signal: run.invocation.signal });
      const now = await sample(
        run,
        vms.filter(({ id }) => before.has(id)),
      );
      for (const vm of vms) writeStats(run, vm, chosen, before.get(vm.id), now.get(vm.id));
      before = now;
    }
  },
};

function wantedMetrics({ bound }: CmdletRun): readonly Metric[] {
  const wildcards = bound.texts("Stat").map((text) => ({ text, wildcard: new Wildcard(text) }));
  const strange = wildcards.find(({ wildcard }) => !metrics.some(({ id }) => wildcard.matches(id)));
  if (strange !== undefined) {
    throw valueError(
      "-Stat",
      `there is no metric "${strange.text}"`,
      `There is ${metrics.map(({ id }) => id).join(", ")}.`,
    );
  }
  const only = groups.filter((group) => bound.flag(group) === true);
  return metrics.filter(
    ({ id, group }) =>
      (wildcards.length === 0 || wildcards.some(({ wildcard }) => wildcard.matches(id))) &&
      (only.length === 0 || only.includes(group)),
  );
}

async function sample(run: CmdletRun, vms: readonly Vm[]): Promise<Map<Vm["id"], VmStatistics>> {
  const samples = new Map<Vm["id"], VmStatistics>();
  for (const { id } of vms) {
    await run.attempt(
      async () => void samples.set(id, await run.api.call("vmStatistics", { parameters: { vmId: id } })),
    );
  }
  return samples;
}

function writeStats(
  run: CmdletRun,
  vm: Vm,
  chosen: readonly Metric[],
  first: VmStatistics | undefined,
  last: VmStatistics | undefined,
): void {
  if (first === undefined || last === undefined) return;
  const seconds = (Date.parse(last.sampledAt) - Date.parse(first.sampledAt)) / 1000;
  if (seconds <= 0) return;
  for (const { id, unit, value } of chosen) {
    const figure = value({ first, last, seconds });
    // A guest that was started anew in between has no difference.
    if (figure === undefined || figure < 0) continue;
    run.write(statKind, {
      Name: id,
      MetricId: id,
      Timestamp: last.sampledAt,
      Value: Math.round(figure * 100) / 100,
      Unit: unit,
      Entity: vm.name,
      EntityId: vm.id,
      IntervalSecs: Math.round(seconds),
    });
  }
}
