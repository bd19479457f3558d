/** Metrics for people: numbers that are short, bars that begin at 0, gaps where nothing is known. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MetricSeries } from "@innkeeper/contract/resource/metric.ts";
import { metricsText } from "#page/metrics.ts";

const series = (average: (number | null)[], maximum?: (number | null)[]): MetricSeries["series"][number] => ({
  metric: "cpuUsagePct",
  unit: "%",
  average,
  ...(maximum === undefined ? {} : { maximum }),
});

const lines = (all: MetricSeries["series"]): string[] =>
  metricsText({ from: "2026-11-01T08:00:00.000Z", intervalSeconds: 20, series: all }, "each bar 20.0 s or more")
    .trimEnd()
    .split("\n");

test("one line a metric, with its course", () => {
  const [head, titles, row] = lines([series([0, 25, null, 100, 12.345])]);
  assert.match(head ?? "", /each bar 20\.0 s or more$/);
  assert.match(titles ?? "", /^METRIC\s+LAST\s+MEAN\s+MOST\s+UNIT\s+COURSE$/);
  assert.match(row ?? "", /^cpuUsagePct\s+12\.3\s+34\.3\s+100\s+%\s+▁▃ █▂$/);
});

test("many points share a bar; all zero is a flat line; maxima count where there are some", () => {
  const [, , row] = lines([series(Array.from({ length: 100 }, (_, index) => index))]);
  assert.equal(/[▁▂▃▄▅▆▇█]+$/.exec(row ?? "")?.[0].length, 34);
  assert.match(lines([series([0, 0, 0])])[2] ?? "", / 0\s+0\s+0\s+%\s+▁▁▁$/);
  assert.match(lines([series([1, 2], [3, 9])])[2] ?? "", /\s9\s+%/);
});

test("of what is not known nothing is shown", () => {
  assert.deepEqual(lines([series([null, null])]).slice(1), [
    "No samples of that time. They are taken every 20 s while the host is connected.",
  ]);
});
