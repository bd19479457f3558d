/** Metrics of one thing over a time, from memory or the store, whichever has the finest that reaches so far. */
import {
  type MeasuredKind,
  metric,
  type MetricName,
  metricLevels,
  type MetricQuery,
  type MetricSeries,
  metricsOf,
} from "@innkeeper/contract/resource/metric.ts";
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { RecentSamples, Summary } from "#management/metric/recent-samples.ts";
import { decodeRollup, partOf } from "#management/metric/rollup-code.ts";
import { valueOf } from "#management/metric/sample.ts";
import type { Store } from "#store/port.ts";

export interface MetricServiceDeps {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly recent: RecentSamples;
  readonly clock: Clock;
}

type Level = (typeof metricLevels)[number];
/** What `from` is without it: as long as the samples reach. */
const defaultSeconds = metricLevels[0].keptSeconds;
const pointsMax = 5000;

export class MetricService {
  readonly #deps: MetricServiceDeps;

  constructor(deps: MetricServiceDeps) {
    this.#deps = deps;
  }

  /** AppErrors: not_found; invalid_field for `metrics`, `from`, `to`. `field` names the thing in the path. */
  async series(kind: MeasuredKind, id: string, query: MetricQuery, field: string): Promise<MetricSeries> {
    this.#deps.inventory.require(kind, id, { field });
    const names = readNames(kind, query.metrics);
    const nowSeconds = Math.floor(this.#deps.clock.now() / 1000);
    const to = query.to === undefined ? nowSeconds : Math.floor(Date.parse(query.to) / 1000);
    const from = query.from === undefined ? to - defaultSeconds : Math.floor(Date.parse(query.from) / 1000);
    if (from >= to) throw new AppError("invalid_field", "`from` must be before `to`.", { field: "from" });
    const level = levelFor(query.intervalSeconds, nowSeconds - from);
    const { intervalSeconds } = level;
    const first = Math.floor(from / intervalSeconds) * intervalSeconds;
    const count = Math.ceil((to - first) / intervalSeconds);
    if (count > pointsMax) {
      throw new AppError("invalid_field", `That are ${count} points; at most ${pointsMax} are told at once.`, {
        field: query.intervalSeconds === undefined ? "from" : "intervalSeconds",
        remedy: "Ask for a shorter time, or a longer interval.",
      });
    }
    const series =
      level === metricLevels[0]
        ? this.#recent(id, names, first, first + count * intervalSeconds)
        : await this.#stored(id, names, level, first, count);
    return { from: new Date(first * 1000).toISOString(), intervalSeconds, series };
  }

  #recent(id: string, names: readonly MetricName[], first: number, end: number): MetricSeries["series"] {
    return names.map((name) => ({
      metric: name,
      unit: metric[name].unit,
      average: this.#deps.recent.series(id, name, first * 1000, end * 1000).map(rounded),
    }));
  }

  async #stored(
    id: string,
    names: readonly MetricName[],
    { intervalSeconds }: Level,
    first: number,
    count: number,
  ): Promise<MetricSeries["series"]> {
    const end = first + count * intervalSeconds;
    const rollups = await this.#deps.store.transaction((transaction) =>
      transaction.listRollups(intervalSeconds, partOf(id), first, end),
    );
    const points: (Summary | undefined)[] = Array.from({ length: count });
    for (const { atSeconds, content } of rollups) {
      points[Math.floor((atSeconds - first) / intervalSeconds)] = decodeRollup(content, id).get(id);
    }
    const column = (name: MetricName, which: keyof Summary): (number | null)[] =>
      points.map((point) => rounded(point === undefined ? null : valueOf(point[which], name)));
    return names.map((name) => ({
      metric: name,
      unit: metric[name].unit,
      average: column(name, "average"),
      maximum: column(name, "maximum"),
    }));
  }
}

/** The finest that is kept so long ago, or the one asked for. */
function levelFor(intervalSeconds: number | undefined, agoSeconds: number): Level {
  const asked = metricLevels.find((level) => level.intervalSeconds === intervalSeconds);
  const finest = metricLevels.find(({ keptSeconds }) => agoSeconds <= keptSeconds);
  return asked ?? finest ?? metricLevels[metricLevels.length - 1] ?? metricLevels[0];
}

function readNames(kind: MeasuredKind, text: string | undefined): MetricName[] {
  const all = metricsOf(kind);
  if (text === undefined) return all;
  const names = text.split(",");
  const unknown = names.find((name) => !(all as readonly string[]).includes(name));
  if (unknown === undefined) return names as MetricName[];
  throw new AppError("invalid_field", `There is no metric ${JSON.stringify(unknown)} here.`, {
    field: "metrics",
    remedy: `There is ${all.join(", ")}.`,
  });
}

/** Four digits: what 16 bits hold. */
function rounded(value: number | null): number | null {
  return value === null || Number.isNaN(value) ? null : Number(value.toPrecision(4));
}
