/** Prometheus' text format: families in one piece, base units, escaped labels, nothing old. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Inventory } from "#management/inventory/inventory.ts";
import { prometheusText } from "#management/metric/prometheus.ts";
import { RecentSamples } from "#management/metric/recent-samples.ts";
import { valuesOf } from "#management/metric/sample.ts";
import { systemClock } from "#core/system-clock.ts";

const nowMs = 1_800_000_000_000;
const things: Readonly<Record<string, readonly object[]>> = {
  cluster: [{ id: "cluster-1", name: "c1" }],
  host: [
    { id: "host-1", name: "kvm1", connectionState: "connected", clusterId: "cluster-1" },
    { id: "host-2", name: "kvm2", connectionState: "connected" },
  ],
  vm: [
    { id: "vm-1", name: 'we"b\\\n', hostId: "host-1", state: "running" },
    { id: "vm-2", name: "off", hostId: "host-1", state: "shutoff" },
  ],
  "storage-pool": [],
  task: [],
};
const inventory = {
  revision: 7,
  list: (kind: string) => things[kind] ?? [],
  get: (kind: string, id: string) => (things[kind] ?? []).find((each) => "id" in each && each.id === id),
} as unknown as Inventory;

test("each family once, with help, type and lines that a scraper reads", () => {
  const recent = new RecentSamples();
  recent.record("vm-2", nowMs - 600_000, valuesOf({ cpuUsagePct: 1 }));
  for (const id of ["cluster-1", "host-1", "host-2"]) recent.record(id, nowMs, valuesOf({ cpuUsagePct: 25 }));
  recent.record("vm-1", nowMs, valuesOf({ cpuUsagePct: 50, diskReadIops: 10, memoryConsumedMiB: 1 }));
  const clock = { ...systemClock, now: () => nowMs };
  const deps = { inventory, recent, clock, startedAt: "2027-01-01T00:00:00.000Z", version: "1.0" };
  const lines = [...prometheusText(deps, true)].join("").split("\n");
  assert.equal(lines.at(-1), "");
  const families = lines.flatMap((line) => /^# TYPE (\S+) (?:gauge|counter)$/.exec(line)?.[1] ?? []);
  assert.equal(new Set(families).size, families.length);
  const sample = /^([a-z_]+)(\{([a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?\d+(\.\d+)?(e[+-]?\d+)?$/;
  for (const line of lines.filter((each) => each !== "" && !each.startsWith("#"))) {
    const name = sample.exec(line)?.[1];
    assert.ok(name !== undefined && families.includes(name), line);
  }
  assert.ok(lines.includes(String.raw`inn_vm_cpu_usage_ratio{id="vm-1",vm="we\"b\\\n",host="kvm1"} 0.5`));
  assert.ok(lines.includes(String.raw`inn_vm_disk_read_requests_per_second{id="vm-1",vm="we\"b\\\n",host="kvm1"} 10`));
  assert.ok(lines.includes('inn_cluster_cpu_usage_ratio{id="cluster-1",cluster="c1"} 0.25'));
  assert.ok(lines.includes('inn_host_cpu_usage_ratio{id="host-1",host="kvm1",cluster="c1"} 0.25'));
  assert.ok(lines.includes('inn_host_cpu_usage_ratio{id="host-2",host="kvm2"} 0.25'));
  assert.ok(lines.some((line) => line.startsWith("inn_vm_memory_consumed_bytes{") && line.endsWith(" 1048576")));
  assert.ok(lines.includes('inn_vms{state="shutoff"} 1'));
  assert.ok(lines.includes("inn_revision 7"));
  assert.ok(!lines.some((line) => line.includes("vm-2")), "an old sample is not of now");
  assert.ok(![...prometheusText(deps, false)].join("").includes("inn_vm_"));
});
