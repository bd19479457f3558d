/** An hour of samples: what was recorded is read again to 0.05 % or a thousandth, gaps stay gaps, and old, forgotten or reused places tell nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MetricName, metricNames } from "@innkeeper/contract/resource/metric.ts";
import { RecentSamples, sampleMs, summaryOf } from "#management/metric/recent-samples.ts";
import { valueOf, valuesOf } from "#management/metric/sample.ts";

const startMs = 1_800_000_000_000;
const at = (slot: number): number => startMs + slot * sampleMs;

function near(actual: number | null | undefined, expected: number): void {
  const most = Math.max(Math.abs(expected) * 0.0005, 0.001);
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= most, `${actual} is not ${expected}`);
}

test("values of every metric's range are read again, and what is not known stays unknown", () => {
  const samples = new RecentSamples();
  const large: Partial<Record<MetricName, number>> = {
    cpuUsagePct: 12.34,
    // A cluster of 640 hosts of 1 TiB.
    memoryConsumedMiB: 640 * 1024 * 1024,
    memoryActiveMiB: 5.5,
    diskReadKiBps: 640 * 1_250_000,
    diskReadIops: 640 * 200_000,
    diskWriteIops: 0.05,
    diskReadLatencyMs: 0.043,
    networkReceiveKiBps: 0.2,
    storageUsedMiB: 900_000_000,
  };
  samples.record("vm-1", at(0), valuesOf(large));
  samples.record("vm-2", at(0), valuesOf({ cpuUsagePct: 0 }));
  for (const name of metricNames) {
    const [point] = samples.series("vm-1", name, at(0), at(1));
    if (large[name] === undefined) assert.equal(point, null, name);
    else near(point, large[name]);
  }
  assert.deepEqual(samples.series("vm-2", "cpuUsagePct", at(0), at(1)), [0]);
  assert.equal(samples.latest("vm-2", "diskReadIops", at(0), 90_000), undefined);
});

test("an hour is kept; gaps stay gaps; what is forgotten leaves nothing to who comes after", () => {
  const samples = new RecentSamples();
  for (let slot = 0; slot < 400; slot++) {
    if (slot % 7 !== 0) samples.record("vm-1", at(slot), valuesOf({ cpuUsagePct: slot % 50 }));
  }
  const points = samples.series("vm-1", "cpuUsagePct", at(200), at(402));
  for (const [index, point] of points.entries()) {
    const slot = 200 + index;
    assert.equal(point, slot % 7 === 0 || slot < 219 || slot >= 399 ? null : slot % 50, `slot ${slot}`);
  }
  samples.forget("vm-1");
  samples.record("vm-2", at(399), valuesOf({ memoryConsumedMiB: 5 }));
  assert.deepEqual(
    samples.series("vm-2", "cpuUsagePct", at(390), at(400)),
    Array.from({ length: 10 }, () => null),
  );
  assert.deepEqual([...samples.ids()], ["vm-2"]);
});

test("when the clock is set back, what was recorded of the time to come is not told of it", () => {
  const samples = new RecentSamples();
  for (let slot = 0; slot < 100; slot++) samples.record("vm-1", at(slot), valuesOf({ cpuUsagePct: 1 }));
  for (let slot = 250; slot < 260; slot++) samples.record("vm-1", at(slot), valuesOf({ cpuUsagePct: 2 }));
  samples.record("vm-2", at(100), valuesOf({ cpuUsagePct: 3 }));
  // What is kept is an hour of the time at which the clock was: of before, what lies in that.
  assert.deepEqual(samples.series("vm-1", "cpuUsagePct", at(79), at(82)), [null, 1, 1]);
  assert.equal(samples.latest("vm-1", "cpuUsagePct", at(99), 0), 1);
  for (let slot = 101; slot < 270; slot++) samples.record("vm-2", at(slot), valuesOf({ cpuUsagePct: 3 }));
  assert.deepEqual(
    samples.series("vm-1", "cpuUsagePct", at(245), at(265)).filter((point) => point !== null),
    [],
  );
  assert.equal(samples.series("vm-2", "cpuUsagePct", at(101), at(270)).includes(null), false);
});

test("many things share pages; each reads its own", () => {
  const samples = new RecentSamples();
  for (let slot = 0; slot < 5; slot++) {
    for (let thing = 0; thing < 400; thing++) {
      samples.record(
        `vm-${thing}`,
        at(slot),
        valuesOf({ cpuUsagePct: thing % 100, diskReadIops: slot, diskWriteIops: 0 }),
      );
    }
  }
  for (const thing of [0, 127, 128, 399]) {
    assert.deepEqual(samples.series(`vm-${thing}`, "diskReadIops", at(0), at(5)), [0, 1, 2, 3, 4]);
    assert.equal(samples.latest(`vm-${thing}`, "cpuUsagePct", at(4), 0), thing % 100);
    assert.equal(samples.latest(`vm-${thing}`, "diskWriteIops", at(6), 90_000), 0);
    assert.equal(samples.latest(`vm-${thing}`, "diskWriteIops", at(20), 90_000), undefined);
  }
});

test("a clock that jumps leaves no old sample where a new one is looked for", () => {
  const samples = new RecentSamples();
  samples.record("vm-1", at(0), valuesOf({ cpuUsagePct: 1 }));
  samples.record("vm-1", at(1000), valuesOf({ cpuUsagePct: 2 }));
  assert.deepEqual(samples.series("vm-1", "cpuUsagePct", at(999), at(1001)), [null, 2]);
  samples.record("vm-1", at(500), valuesOf({ cpuUsagePct: 3 }));
  assert.deepEqual(samples.series("vm-1", "cpuUsagePct", at(499), at(502)), [null, 3, null]);
  samples.record("vm-1", at(501), valuesOf({ cpuUsagePct: 4 }));
  assert.equal(samples.latest("vm-1", "cpuUsagePct", at(501), 0), 4);
});

test("a summary is of what is known", () => {
  const samples = new RecentSamples();
  for (const [slot, value] of [
    [0, 10],
    [1, 30],
    [3, 20],
  ] as const) {
    samples.record("vm-1", at(slot), valuesOf({ cpuUsagePct: value, ...(slot === 1 ? { diskReadLatencyMs: 8 } : {}) }));
  }
  const summary = samples.summary("vm-1", at(0), at(15));
  assert.ok(summary);
  assert.equal(valueOf(summary.average, "cpuUsagePct"), 20);
  assert.equal(valueOf(summary.maximum, "cpuUsagePct"), 30);
  assert.equal(valueOf(summary.average, "diskReadLatencyMs"), 8);
  assert.ok(Number.isNaN(valueOf(summary.maximum, "memoryActiveMiB")));
  assert.equal(samples.summary("vm-1", at(4), at(15)), undefined);
  assert.equal(summaryOf([]), undefined);
});
