/** A host is measured by differences of counters; what changed behind our back is told; slow hosts are asked less often. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { MetricPoll, nextIntervalMs } from "#management/metric/metric-poll.ts";
import { RecentSamples, sampleMs } from "#management/metric/recent-samples.ts";
import type { Providers } from "#management/providers.ts";
import type { ChangeEntry } from "#store/port.ts";
import { systemClock } from "#core/system-clock.ts";

const hostId = "host-000000000001";
const otherHostId = "host-000000000002";
const call = { signal: new AbortController().signal };
const path = "/images/web.qcow2";

function statistics(scale: number, change: Partial<VmStatistics> = {}): VmStatistics {
  const ns = scale * 1e9;
  return {
    sampledAt: "",
    state: "running",
    cpuTimeNs: ns * 2,
    vcpus: [0, 1].map((number) => ({ number, timeNs: ns, delayNs: ns / 10 })),
    memory: { balloonMiB: 3072, maxMiB: 4096, residentMiB: 2048, guestAvailableMiB: 3000, guestUnusedMiB: 1000 },
    disks: [
      {
        target: "vda",
        readBytes: scale * 2 ** 20,
        readRequests: scale * 100,
        writeBytes: 0,
        writeRequests: 0,
        readTimeNs: scale * 100 * 2e6,
        writeTimeNs: 0,
      },
    ],
    nics: [
      {
        name: "vnet0",
        receivedBytes: scale * 2048,
        receivedPackets: 0,
        receivedDrops: 0,
        sentBytes: scale * 1024,
        sentPackets: 0,
        sentDrops: 0,
      },
    ],
    ...change,
  };
}

function fixture() {
  const vm = (uuid: string) => ({
    id: `vm-${uuid}`,
    uuid,
    hostId,
    state: "running",
    spec: { disks: [{ target: "vda", source: path }] },
  });
  const vms = [vm("a"), vm("b")];
  const pool: Partial<StoragePool> = { id: "pool-1", hostId, allocationBytes: 2 ** 30 };
  const volume: { path: string; hostId: string; poolId: string } = { path, hostId, poolId: "pool-1" };
  let listener: ((changes: readonly ChangeEntry[]) => void) | undefined;
  const hosts = [
    { id: hostId, hardware: { cpuCount: 8 } },
    { id: otherHostId, hardware: { cpuCount: 24 } },
  ];
  const inventory = {
    list: () => [{ id: "cluster-1" }],
    byHost: (kind: string) => ({ vm: vms, "storage-pool": [pool] })[kind],
    by: (kind: string, _field: string, value: string) =>
      kind === "host" ? hosts : [volume].filter((each) => each.path === value),
    get: () => ({ hardware: { memoryMiB: 10_000 } }),
    onChange: (given: NonNullable<typeof listener>) => {
      listener = given;
      return () => {};
    },
  };
  const usage = { cpuLoadPct: 33, memoryFreeMiB: 4000, sampledAt: "" };
  let now = { ms: 1_800_000_000_000, counters: new Map<string, VmStatistics>() };
  const providers = {
    get: () => ({
      guest: { inventory: { statistics: async () => now.counters } },
      link: { usage: async () => usage },
    }),
  };
  const recent = new RecentSamples();
  const clock = { ...systemClock, now: () => now.ms, monotonicMs: () => now.ms };
  // Only what is asked of them is there.
  const poll = new MetricPoll({
    inventory: inventory as unknown as Inventory,
    providers: providers as unknown as Providers,
    recent,
    clock,
  });
  return {
    poll,
    volume,
    recent,
    usage,
    hosts,
    sampleHost: (id: string) => poll.sample(id, call),
    sample: (counters: Readonly<Record<string, VmStatistics>>) => {
      now = { ms: now.ms + sampleMs, counters: new Map(Object.entries(counters)) };
      return poll.sample(hostId, call);
    },
    now: () => now.ms,
    latest: (id: string, name: Parameters<RecentSamples["latest"]>[1]) => recent.latest(id, name, now.ms, 0),
    remove: (id: string) => listener?.([{ revision: 1, kind: "vm", id, operation: "delete", resource: undefined }]),
  };
}

function assertNear(value: number | undefined, wanted: number, what = ""): void {
  assert.ok(Math.abs((value ?? Number.NaN) - wanted) <= wanted * 0.001, `${what} ${value}, not ${wanted}`);
}

test("rates are differences over time, of the VM, its host and its pool", async () => {
  const under = fixture();
  await under.sample({ a: statistics(0), b: statistics(0) });
  assert.equal(under.latest("vm-a", "cpuUsagePct"), undefined);
  await under.sample({ a: statistics(10), b: statistics(0) });
  const near = (id: string, name: Parameters<typeof under.latest>[1], wanted: number) =>
    assertNear(under.latest(id, name), wanted, `${id} ${name}`);
  near("vm-a", "cpuUsagePct", 50);
  near("vm-a", "cpuReadyPct", 5);
  near("vm-a", "memoryActiveMiB", 2000);
  near("vm-a", "memoryConsumedMiB", 2048);
  near("vm-a", "memoryBalloonedMiB", 1024);
  near("vm-a", "diskReadKiBps", 512);
  near("vm-a", "diskReadIops", 50);
  near("vm-a", "diskReadLatencyMs", 2);
  near("vm-a", "networkReceiveKiBps", 1);
  assert.equal(under.latest("vm-a", "diskWriteLatencyMs"), undefined, "nothing was written");
  assert.equal(under.latest("vm-a", "memorySwapKiBps"), undefined, "the guest does not tell");
  assert.equal(under.latest("vm-b", "diskReadIops"), 0);
  near(hostId, "cpuUsagePct", 33);
  near(hostId, "memoryConsumedMiB", 6000);
  near(hostId, "diskReadIops", 50);
  near(hostId, "diskReadLatencyMs", 2);
  near(hostId, "memoryActiveMiB", 4000);
  near("pool-1", "diskReadIops", 50);
  near("pool-1", "storageUsedMiB", 1024);
});

test("a cluster is its hosts together, told once the time is over; one that is silent is left out after 90 s", async () => {
  const under = fixture();
  const load = async (scale: number, other?: number): Promise<void> => {
    under.usage.cpuLoadPct = 20;
    await under.sample({ a: statistics(scale), b: statistics(0) });
    under.usage.cpuLoadPct = other ?? 0;
    if (other !== undefined) await under.sampleHost(otherHostId);
  };
  const at = (name: Parameters<typeof under.latest>[1]) =>
    under.recent.latest("cluster-1", name, under.now(), sampleMs);
  await load(0, 60);
  assert.equal(at("cpuUsagePct"), undefined, "the 20 s are not over");
  await load(10, 60);
  assert.equal(at("cpuUsagePct"), 50, "by their CPUs: 8 at 20 %, 24 at 60 %");
  assert.equal(at("memoryConsumedMiB"), 12_000);
  await load(20);
  assertNear(at("diskReadIops"), 50);
  assertNear(at("diskReadLatencyMs"), 2);
  assertNear(at("memoryActiveMiB"), 4000);
  for (const scale of [30, 40, 50]) await load(scale);
  assert.equal(at("cpuUsagePct"), 50, "not silent for long");
  for (const scale of [60, 70]) await load(scale);
  assert.equal(at("cpuUsagePct"), 20);
  under.hosts.shift();
  await load(80);
  assert.equal(at("cpuUsagePct"), undefined, "of no host that is in it anything is known");
});

test("a disk whose volume is unknown for a while comes back with what it did since, not since its guest's start", async () => {
  const under = fixture();
  await under.sample({ a: statistics(1000), b: statistics(0) });
  assert.equal(under.latest("pool-1", "diskReadIops"), undefined, "nothing is known yet");
  await under.sample({ a: statistics(1010), b: statistics(0) });
  assert.equal(under.latest("pool-1", "diskReadIops"), 50);
  under.volume.path = "/images/renamed.qcow2";
  await under.sample({ a: statistics(1020), b: statistics(0) });
  assert.equal(under.latest("pool-1", "diskReadIops"), 0);
  under.volume.path = path;
  await under.sample({ a: statistics(1030), b: statistics(0) });
  assert.equal(under.latest("pool-1", "diskReadIops"), 50);
  assert.equal(under.latest("pool-1", "diskReadLatencyMs"), 2);
});

test("a disk that is taken out or plugged in leaves the rates of the others as they are", async () => {
  const under = fixture();
  await under.sample({ a: statistics(1000), b: statistics(1000) });
  await under.sample({ a: statistics(1010, { disks: [] }), b: statistics(1010) });
  assert.equal(under.latest("pool-1", "diskReadIops"), 50);
  await under.sample({ a: statistics(1020), b: statistics(1020) });
  assert.equal(under.latest("pool-1", "diskReadIops"), 50);
});

test("a guest that was started anew has no rate across it", async () => {
  const under = fixture();
  await under.sample({ a: statistics(100), b: statistics(0) });
  await under.sample({ a: statistics(1), b: statistics(0) });
  assert.equal(under.latest("vm-a", "cpuUsagePct"), undefined);
  await under.sample({ a: statistics(2), b: statistics(0) });
  assert.equal(under.latest("vm-a", "cpuUsagePct"), 5);
  under.remove("vm-a");
  assert.equal(under.latest("vm-a", "cpuUsagePct"), undefined);
});

test("guests that are not as they are stored are told: another state, gone, new", async () => {
  const under = fixture();
  assert.deepEqual(await under.sample({ a: statistics(0), b: statistics(0) }), []);
  assert.deepEqual(await under.sample({ a: statistics(1, { state: "paused" }), c: statistics(0) }), ["a", "c", "b"]);
});

test("a host is asked every 20 s, and one that takes long for at most a quarter of its time", () => {
  assert.equal(nextIntervalMs(100), 20_000);
  assert.equal(nextIntervalMs(8000), 32_000);
  assert.equal(nextIntervalMs(30_000), 120_000);
  assert.equal(nextIntervalMs(10 * 60_000), 300_000);
});
