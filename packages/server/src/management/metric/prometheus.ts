/**
 * The latest samples in Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/), in its
 * base units (seconds, bytes, ratios). Made piece by piece: of 50,000 VMs it is some 70 MB.
 */
import {
  measuredKinds,
  type MeasuredKind,
  metric,
  type Metric,
  type MetricName,
  metricsOf,
} from "@innkeeper/contract/resource/metric.ts";
import type { Clock } from "#core/clock.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { currentMs } from "#management/metric/cluster-samples.ts";
import type { RecentSamples } from "#management/metric/recent-samples.ts";

export interface PrometheusDeps {
  readonly inventory: Inventory;
  readonly recent: RecentSamples;
  readonly clock: Clock;
  readonly startedAt: string;
  readonly version: string;
}

const pieceLines = 500;

const prefixOf: Readonly<Record<MeasuredKind, string>> = {
  vm: "inn_vm",
  host: "inn_host",
  "storage-pool": "inn_pool",
  cluster: "inn_cluster",
};
/** Our unit as Prometheus' own: how names end, and how many of its units ours is. */
const baseUnit: Readonly<Record<Metric["unit"], { readonly ending: string; readonly factor: number }>> = {
  "%": { ending: "ratio", factor: 0.01 },
  MiB: { ending: "bytes", factor: 2 ** 20 },
  "KiB/s": { ending: "bytes_per_second", factor: 1024 },
  "1/s": { ending: "requests_per_second", factor: 1 },
  ms: { ending: "seconds", factor: 0.001 },
};

/** `withVms`: else clusters, hosts, pools and counts alone. */
export function* prometheusText(deps: PrometheusDeps, withVms: boolean): Generator<string> {
  yield* ofControlPlane(deps);
  for (const kind of measuredKinds) {
    if (kind === "vm" && !withVms) continue;
    const things = [...labelled(deps.inventory, kind)];
    for (const name of metricsOf(kind)) yield* ofMetric(deps, kind, name, things);
  }
}

function* ofControlPlane({ inventory, startedAt, version }: PrometheusDeps): Generator<string> {
  yield family("inn_info", "gauge", "the control plane's version") + line("inn_info", labels({ version }), 1);
  yield single("process_start_time_seconds", "gauge", "when it started, after 1970", Date.parse(startedAt) / 1000);
  const { user, system } = process.cpuUsage();
  yield single("process_cpu_seconds_total", "counter", "CPU time of the control plane", (user + system) / 1e6);
  yield single("process_resident_memory_bytes", "gauge", "its resident memory", process.memoryUsage.rss());
  yield single("inn_revision", "counter", "latest revision of the change log", inventory.revision);
  yield* counts("inn_hosts", "hosts by connection state", inventory.list("host"), (host) => host.connectionState);
  yield* counts("inn_vms", "VMs by state", inventory.list("vm"), (vm) => vm.state);
  yield* counts("inn_tasks", "tasks by state, as far as they are kept", inventory.list("task"), (task) => task.state);
}

function* counts<T>(name: string, help: string, all: readonly T[], state: (each: T) => string): Generator<string> {
  const byState = Map.groupBy(all, state);
  const lines = [...byState].map(([state, each]) => line(name, labels({ state }), each.length));
  yield family(name, "gauge", help) + lines.join("");
}

const labelOf: Readonly<Record<MeasuredKind, string>> = {
  vm: "vm",
  host: "host",
  cluster: "cluster",
  "storage-pool": "pool",
};

interface Labelled {
  readonly id: string;
  readonly labels: string;
}

function* labelled(inventory: Inventory, kind: MeasuredKind): Generator<Labelled> {
  const clusterOf = (each: object): Readonly<Record<string, string>> => {
    const cluster = "clusterId" in each ? inventory.get("cluster", String(each.clusterId)) : undefined;
    return cluster === undefined ? {} : { cluster: cluster.name };
  };
  const hostName = (id: string): string => inventory.get("host", id)?.name ?? "";
  for (const each of inventory.list(kind)) {
    const place = "hostId" in each ? { host: hostName(each.hostId) } : {};
    yield { id: each.id, labels: labels({ id: each.id, [labelOf[kind]]: each.name, ...place, ...clusterOf(each) }) };
  }
}

function* ofMetric(
  { recent, clock }: PrometheusDeps,
  kind: MeasuredKind,
  name: MetricName,
  things: readonly Labelled[],
): Generator<string> {
  const { unit, summary } = metric[name];
  const { ending, factor } = baseUnit[unit];
  // `memoryActiveMiB` is `memory_active`, with the ending of its base unit.
  const words = name
    .replace(/(Pct|MiB|KiBps|Iops|Ms)$/, "")
    .replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const full = `${prefixOf[kind]}_${words}_${ending}`;
  let piece = family(full, "gauge", summary);
  let lines = 0;
  const now = clock.now();
  for (const { id, labels } of things) {
    const value = recent.latest(id, name, now, currentMs);
    if (value === undefined) continue;
    piece += line(full, labels, value * factor);
    if (++lines % pieceLines !== 0) continue;
    yield piece;
    piece = "";
  }
  yield piece;
}

function single(name: string, type: string, help: string, value: number): string {
  return family(name, type, help) + line(name, "", value);
}

function family(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels} ${Number(value.toPrecision(12))}\n`;
}

function labels(given: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(given).map(([name, value]) => `${name}="${escaped(value)}"`);
  return `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
}
