/** Clusters: all that is not read. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

export function clusterHandlers({ cluster }: RestServices): HandlerTable {
  return {
    clusterCreate: ({ body }) => cluster.create(body),
    clusterChange: (context) => cluster.change(context.parameters.clusterId, context.body, serviceContext(context)),
    clusterDelete: (context) => cluster.delete(context.parameters.clusterId, serviceContext(context)),
  };
}
