/** Metrics of VMs, hosts, clusters and storage pools over time: what there is, in which units, and how long it is kept. */
import { Type, type Static } from "typebox";
import { strict, Time } from "./base.ts";

export const measuredKinds = ["vm", "host", "cluster", "storage-pool"] as const;
export type MeasuredKind = (typeof measuredKinds)[number];

export interface Metric {
  readonly unit: "%" | "MiB" | "KiB/s" | "1/s" | "ms";
  readonly of: readonly MeasuredKind[];
  readonly summary: string;
}

const compute = ["vm", "host", "cluster"] as const;
const all = measuredKinds;

/** In the order in which roll-ups store them: new ones come last. */
export const metric = {
  cpuUsagePct: { unit: "%", of: compute, summary: "CPU time used, of all CPUs that it has" },
  cpuReadyPct: {
    unit: "%",
    of: compute,
    summary: "time that vCPUs wanted to run and waited for a CPU (steal), of all vCPUs",
  },
  memoryActiveMiB: { unit: "MiB", of: compute, summary: "memory that guests use, as their balloon driver tells" },
  memoryConsumedMiB: { unit: "MiB", of: compute, summary: "the host's memory that it takes" },
  memoryBalloonedMiB: { unit: "MiB", of: compute, summary: "memory taken back from guests by the balloon" },
  memorySwapKiBps: {
    unit: "KiB/s",
    of: compute,
    summary: "what guests swap in and out, as their balloon driver tells",
  },
  diskReadKiBps: { unit: "KiB/s", of: all, summary: "read from disks" },
  diskWriteKiBps: { unit: "KiB/s", of: all, summary: "written to disks" },
  diskReadIops: { unit: "1/s", of: all, summary: "read requests" },
  diskWriteIops: { unit: "1/s", of: all, summary: "write requests" },
  diskReadLatencyMs: { unit: "ms", of: all, summary: "mean time of a read request; none: no value" },
  diskWriteLatencyMs: { unit: "ms", of: all, summary: "mean time of a write request; none: no value" },
  networkReceiveKiBps: { unit: "KiB/s", of: compute, summary: "received by network cards of VMs" },
  networkTransmitKiBps: { unit: "KiB/s", of: compute, summary: "sent by network cards of VMs" },
  storageUsedMiB: { unit: "MiB", of: ["storage-pool"], summary: "space taken" },
} as const satisfies Record<string, Metric>;
export type MetricName = keyof typeof metric;
export const metricNames = Object.keys(metric) as MetricName[];

export function metricsOf(kind: MeasuredKind): MetricName[] {
  return metricNames.filter((name) => (metric[name].of as readonly string[]).includes(kind));
}

const hour = 3600;
const day = 24 * hour;

/** The first is kept in memory, the others, each made of the one before, in the store. */
export const metricLevels = [
  { intervalSeconds: 20, keptSeconds: hour },
  { intervalSeconds: 300, keptSeconds: day },
  { intervalSeconds: 1800, keptSeconds: 7 * day },
  { intervalSeconds: 2 * hour, keptSeconds: 30 * day },
  { intervalSeconds: day, keptSeconds: 365 * day },
] as const;

export const MetricQuery = Type.Object(
  {
    metrics: Type.Optional(
      Type.String({
        maxLength: 500,
        pattern: "^[A-Za-z]+(,[A-Za-z]+)*$",
        description: "only these, comma-separated; default: all that the kind has",
      }),
    ),
    from: Type.Optional(
      Type.String({ format: "date-time", maxLength: 40, description: "default: an hour before `to`" }),
    ),
    to: Type.Optional(Type.String({ format: "date-time", maxLength: 40, description: "default: now" })),
    intervalSeconds: Type.Optional(
      Type.Unsafe<(typeof metricLevels)[number]["intervalSeconds"]>({
        type: "integer",
        enum: metricLevels.map(({ intervalSeconds }) => intervalSeconds),
        description: "default: the shortest that is kept as long ago as `from`",
      }),
    ),
  },
  strict,
);
export type MetricQuery = Static<typeof MetricQuery>;

const Points = Type.Array(Type.Union([Type.Number(), Type.Null()]), { description: "null: not known" });

export const MetricSeries = Type.Object({
  from: Time,
  intervalSeconds: Type.Integer(),
  /** Each point is of the interval that begins at `from` + its index × `intervalSeconds`. */
  series: Type.Array(
    Type.Object({
      metric: Type.Unsafe<MetricName>({ type: "string", enum: metricNames }),
      unit: Type.String(),
      average: Points,
      maximum: Type.Optional(Points),
    }),
  ),
});
export type MetricSeries = Static<typeof MetricSeries>;
