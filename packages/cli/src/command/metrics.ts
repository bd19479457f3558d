/** `inn vm|host|cluster|pool metrics …`: one line for each metric, with its course as a row of bars. */
import type { Command } from "commander";
import type { MetricSeries } from "@innkeeper/contract/resource/metric.ts";
import { formatDurationMs } from "@innkeeper/contract/unit.ts";
import { usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { metricsText } from "#page/metrics.ts";
import { addVerb, type Surroundings } from "#verb.ts";

const operation = { vm: "vmMetrics", host: "hostMetrics", cluster: "clusterMetrics", pool: "poolMetrics" } as const;

export function addMetrics(noun: Command, surroundings: Surroundings, what: keyof typeof operation): void {
  addVerb(noun, surroundings, {
    usage: `metrics <${what}>`,
    summary: "Show metrics over time: CPU, memory, disks, network; the last hour, or as long ago as a year.",
    operations: [operation[what]],
    options: (command) =>
      command
        .option("--last <duration>", "so long until now: 20m, 6h, 7d (default: 1h)")
        .option("--from <time>", "instead: from then, such as 2026-11-01T08:00:00Z")
        .option("--to <time>", "until then")
        .option(
          "--interval <seconds>",
          "of 20, 300, 1800, 7200, 86400 seconds each; default: the shortest that is kept",
        )
        .option("--metrics <names>", "only these, comma-separated"),
    examples: [
      `${what} metrics web`,
      `${what} metrics web --last 7d --metrics diskReadIops,diskWriteIops`,
      `${what} metrics web --last 1d -o json`,
    ],
    run: async (invocation, name) => {
      const series = await read(invocation, what, name);
      const duration = formatDurationMs(series.intervalSeconds * 1000);
      await invocation.show(series, () => metricsText(series, `each bar ${duration} or more`));
    },
  });
}

async function read(invocation: Invocation, what: keyof typeof operation, name: string): Promise<MetricSeries> {
  const { api, options } = invocation;
  const lastMs = options.durationMs("last");
  if (lastMs !== undefined && (options.text("from") ?? options.text("to")) !== undefined) {
    throw usageError("--last can't be combined with --from and --to");
  }
  const query = given({
    from: lastMs === undefined ? options.text("from") : new Date(Date.now() - lastMs).toISOString(),
    to: options.text("to"),
    // The server says which there are.
    intervalSeconds: options.integer("interval") as MetricSeries["intervalSeconds"] as 20 | undefined,
    metrics: options.text("metrics"),
  });
  const { id } = await find(api, what, name);
  if (what === "vm") return await api.call("vmMetrics", { parameters: { vmId: id }, query });
  if (what === "host") return await api.call("hostMetrics", { parameters: { hostId: id }, query });
  if (what === "cluster") return await api.call("clusterMetrics", { parameters: { clusterId: id }, query });
  return await api.call("poolMetrics", { parameters: { poolId: id }, query });
}
