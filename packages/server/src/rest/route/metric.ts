/** Metrics: of one thing over time, and the latest of all for Prometheus. */
import { Readable } from "node:stream";
import { prometheusText } from "#management/metric/prometheus.ts";
import type { HandlerTable } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

export function metricHandlers({ metric, recent, inventory, clock, system, access }: RestServices): HandlerTable {
  const { startedAt, version } = system;
  return {
    vmMetrics: ({ parameters, query }) => metric.series("vm", parameters.vmId, query ?? {}, "vmId"),
    hostMetrics: ({ parameters, query }) => metric.series("host", parameters.hostId, query ?? {}, "hostId"),
    clusterMetrics: ({ parameters, query }) => metric.series("cluster", parameters.clusterId, query ?? {}, "clusterId"),
    poolMetrics: ({ parameters, query }) => metric.series("storage-pool", parameters.poolId, query ?? {}, "poolId"),
    systemMetrics: async ({ query, reply, principal }) => {
      for (const privilege of ["vm.read", "host.read", "cluster.read", "pool.read"] as const)
        access.authorize(principal, privilege);
      const text = prometheusText({ recent, inventory, clock, startedAt, version }, query?.vms ?? true);
      void reply.type("text/plain; version=0.0.4; charset=utf-8");
      await reply.send(Readable.from(text, { objectMode: false, highWaterMark: 64 * 1024 }));
    },
  };
}
