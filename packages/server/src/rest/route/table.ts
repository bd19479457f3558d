/** All handlers by operation id. */
import type { HandlerTable } from "#rest/handler.ts";
import { clusterHandlers } from "#rest/route/cluster.ts";
import { hostHandlers } from "#rest/route/host.ts";
import { imageHandlers } from "#rest/route/image.ts";
import { listHandlers } from "#rest/route/list.ts";
import { metricHandlers } from "#rest/route/metric.ts";
import { poolHandlers } from "#rest/route/pool.ts";
import { systemHandlers } from "#rest/route/system.ts";
import { taskHandlers } from "#rest/route/task.ts";
import { userHandlers } from "#rest/route/user.ts";
import { vmHandlers } from "#rest/route/vm.ts";
import { volumeHandlers } from "#rest/route/volume.ts";
import { watchHandlers } from "#rest/route/watch.ts";
import type { RestServices } from "#rest/service.ts";

export function handlerTable(services: RestServices): HandlerTable {
  return {
    ...listHandlers(services),
    ...taskHandlers(services),
    ...userHandlers(services),
    ...systemHandlers(services),
    ...clusterHandlers(services),
    ...hostHandlers(services),
    ...poolHandlers(services),
    ...volumeHandlers(services),
    ...imageHandlers(services),
    ...metricHandlers(services),
    ...vmHandlers(services),
    ...watchHandlers(services),
    // Made by its own route, for it becomes a WebSocket.
    vmConsole: () => undefined,
  };
}
