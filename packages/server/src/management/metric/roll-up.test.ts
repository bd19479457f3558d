/** Roll-ups on a clock that is turned by hand: each level of the one before, over restarts and gaps, and old ones go. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { MetricQuery } from "@innkeeper/contract/resource/metric.ts";
import { hostDraft } from "#app/test-support/host-draft.ts";
import type { Clock } from "#core/clock.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { MetricService } from "#management/metric/metric-service.ts";
import { RecentSamples, sampleMs } from "#management/metric/recent-samples.ts";
import { RollUp } from "#management/metric/roll-up.ts";
import { decodeRollup, encodeRollup, partOf } from "#management/metric/rollup-code.ts";
import { valuesOf } from "#management/metric/sample.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const signal = new AbortController().signal;
const hourMs = 3_600_000;
/** A whole day, UTC. */
const startMs = Date.UTC(2026, 0, 5);
const hostId = "host-000000000001";

async function fixture() {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-rollup-"));
  const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  const inventory = await Inventory.open(store);
  await store.transaction((transaction) => transaction.put("host", hostDraft(hostId, "kvm1")));
  let nowMs = startMs;
  const clock: Clock = { ...systemClock, now: () => nowMs };
  let recent = new RecentSamples();
  return {
    store,
    /** Samples until then, each of a value that the time gives, and a roll-up every 5 minutes. */
    async runUntil(endMs: number, value: (atMs: number) => number) {
      const rollUp = new RollUp({ store, recent, clock, log: silentLogger });
      for (; nowMs < endMs; nowMs += sampleMs) {
        if (nowMs % 300_000 === 40_000) await rollUp.roll(signal);
        recent.record(hostId, nowMs, valuesOf({ cpuUsagePct: value(nowMs) }));
      }
    },
    skipTo: (atMs: number) => void (nowMs = atMs),
    restart: () => void (recent = new RecentSamples()),
    series: async (query: MetricQuery) => {
      const service = new MetricService({ store, inventory, recent, clock });
      return await service.series("host", hostId, { metrics: "cpuUsagePct", ...query }, "hostId");
    },
    async [Symbol.asyncDispose]() {
      inventory[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

const time = (atMs: number): string => new Date(atMs).toISOString();

test("averages and maxima of every level are those of the samples", async () => {
  await using under = await fixture();
  await under.runUntil(startMs + 26 * hourMs, (atMs) => (atMs / sampleMs) % 10);
  const [recent] = (await under.series({})).series;
  assert.equal(recent?.average.length, 180);
  assert.equal(recent.average.filter((each) => each === null).length, 0);
  for (const intervalSeconds of [300, 1800, 7200, 86_400] as const) {
    const from = time(startMs + (intervalSeconds === 86_400 ? 0 : 20 * hourMs));
    const to = time(startMs + 24 * hourMs);
    const { series, ...head } = await under.series({ from, to, intervalSeconds });
    assert.equal(head.intervalSeconds, intervalSeconds);
    const [found] = series;
    const count = intervalSeconds === 86_400 ? 1 : (4 * 3600) / intervalSeconds;
    // 15 samples of 0 to 9 are 0 to 4 once more: 4 on average; from then on 4.5 as the halves meet.
    assert.deepEqual(
      found?.maximum,
      Array.from({ length: count }, () => 9),
      `${intervalSeconds}`,
    );
    const mean = (found?.average ?? []).reduce((sum: number, each) => sum + (each ?? Number.NaN), 0) / count;
    assert.ok(Math.abs(mean - 4.5) < 0.01, `${intervalSeconds}: ${mean}`);
  }
  // The level before reached a day back, and no more.
  const old = await under.series({ from: time(startMs), to: time(startMs + hourMs), intervalSeconds: 300 });
  assert.deepEqual(
    old.series[0]?.average.filter((each) => each !== null),
    [],
  );
});

test("without an interval the finest that reaches so far is told; a gap is null; a restart loses samples alone", async () => {
  await using under = await fixture();
  await under.runUntil(startMs + 2 * hourMs, () => 10);
  under.restart();
  under.skipTo(startMs + 3 * hourMs);
  await under.runUntil(startMs + 5 * hourMs + 120_000, () => 20);
  const { intervalSeconds, series } = await under.series({ from: time(startMs) });
  assert.equal(intervalSeconds, 300);
  const points = series[0]?.average ?? [];
  assert.deepEqual(
    points.slice(0, 23),
    Array.from({ length: 23 }, () => 10),
  );
  assert.deepEqual(
    points.slice(24, 36),
    Array.from({ length: 12 }, () => null),
  );
  assert.deepEqual(
    points.slice(36, 60),
    Array.from({ length: 24 }, () => 20),
  );
  const hours = await under.series({ from: time(startMs), intervalSeconds: 7200 });
  assert.deepEqual(hours.series[0]?.average.slice(0, 2), [10, 20]);
});

test("a clock that is an hour ahead for a while, or behind, costs that while and no more", async () => {
  for (const jumpMs of [hourMs, -hourMs]) {
    await using under = await fixture();
    const wrongMs = startMs + 2 * hourMs;
    const rightMs = wrongMs + 600_000;
    await under.runUntil(wrongMs, () => 10);
    under.skipTo(wrongMs + jumpMs);
    await under.runUntil(rightMs + jumpMs, () => 30);
    under.skipTo(rightMs);
    await under.runUntil(rightMs + 2 * hourMs, () => 20);
    const [told] = (await under.series({ from: time(startMs), intervalSeconds: 300 })).series;
    const points = told?.average ?? [];
    // What was measured meanwhile is where the clock said.
    const wrong = jumpMs < 0 ? [30, 10] : [10, 10];
    assert.deepEqual(points.slice(10, 16), [10, 10, ...wrong, 10, 10], String(jumpMs));
    assert.deepEqual(points.slice(24, 26), [null, null], String(jumpMs));
    assert.deepEqual(
      points.slice(26, 49),
      Array.from({ length: 23 }, () => 20),
      String(jumpMs),
    );
    const half = await under.series({
      from: time(rightMs + hourMs),
      to: time(rightMs + 1.5 * hourMs),
      intervalSeconds: 1800,
    });
    assert.equal(half.series[0]?.average[0], 20, String(jumpMs));
  }
});

test("what can't be told is refused by its field", async () => {
  await using under = await fixture();
  const refuse = (query: MetricQuery, field: string) =>
    assert.rejects(under.series(query), { code: "invalid_field", field });
  await refuse({ metrics: "cpu" }, "metrics");
  await refuse({ metrics: "storageUsedMiB" }, "metrics");
  await refuse({ from: time(startMs), to: time(startMs) }, "from");
  await refuse({ from: time(startMs - 30 * 24 * hourMs), intervalSeconds: 20 }, "intervalSeconds");
});

test("a roll-up's text has what went in, for each thing by itself", () => {
  const summary = { average: valuesOf({ cpuUsagePct: 50 }), maximum: valuesOf({ cpuUsagePct: 75 }) };
  const other = { average: valuesOf({ diskReadIops: 64 }), maximum: valuesOf({ diskReadIops: 128 }) };
  const text = encodeRollup(
    new Map([
      ["vm-1", summary],
      ["pool-2", other],
    ]),
  );
  assert.deepEqual(
    decodeRollup(text),
    new Map([
      ["vm-1", summary],
      ["pool-2", other],
    ]),
  );
  assert.deepEqual([...decodeRollup(text, "pool-2").keys()], ["pool-2"]);
  assert.equal(decodeRollup(encodeRollup(new Map())).size, 0);
  assert.ok(partOf("vm-3k9w0c7m2x5q") < 256);
});
