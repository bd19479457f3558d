/** Metrics for people: now, on average, at most, and the course as bars (Unicode's block elements, U+2581 to U+2588). */
import type { MetricSeries } from "@innkeeper/contract/resource/metric.ts";
import { localTime } from "#output/time.ts";
import { tableText } from "#output/table.ts";

const bars = "▁▂▃▄▅▆▇█";
const barsMax = 40;

type Series = MetricSeries["series"][number];

export function metricsText({ from, intervalSeconds, series }: MetricSeries, scale: string): string {
  const known = series.filter(({ average }) => average.some((value) => value !== null));
  const points = series[0]?.average.length ?? 0;
  const end = Date.parse(from) + points * intervalSeconds * 1000;
  const head = `${localTime(Date.parse(from))} to ${localTime(end)}, ${scale}\n`;
  if (known.length === 0)
    return `${head}No samples of that time. They are taken every 20 s while the host is connected.\n`;
  return `${head}${tableText(known, [
    { name: "metric", value: ({ metric }) => metric },
    { name: "last", value: ({ average }) => numberText(average.findLast((value) => value !== null)), right: true },
    { name: "mean", value: ({ average }) => numberText(mean(average)), right: true },
    { name: "most", value: (each) => numberText(most(each.maximum ?? each.average)), right: true },
    { name: "unit", value: ({ unit }) => unit },
    { name: "course", value: course },
  ])}`;
}

/** From 0 to the most; a gap is where nothing is known. */
function course({ average }: Series): string {
  const size = Math.max(1, Math.ceil(average.length / barsMax));
  const top = most(average) ?? 0;
  const cells: string[] = [];
  for (let first = 0; first < average.length; first += size) {
    const value = mean(average.slice(first, first + size));
    const level = value === undefined ? -1 : top === 0 ? 0 : Math.round((value / top) * (bars.length - 1));
    cells.push(bars[level] ?? " ");
  }
  return cells.join("");
}

function mean(values: readonly (number | null)[]): number | undefined {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0) / known.length;
}

function most(values: readonly (number | null)[]): number | undefined {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? undefined : known.reduce((top, value) => Math.max(top, value), Number.NEGATIVE_INFINITY);
}

function numberText(value: number | null | undefined): string {
  if (value === null || value === undefined) return "";
  if (value === 0 || Math.abs(value) >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
