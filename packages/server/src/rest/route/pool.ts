/** Storage pools: what needs no task. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

export function poolHandlers({ pool }: RestServices): HandlerTable {
  return {
    poolChange: (context) => pool.change(context.parameters.poolId, context.body, serviceContext(context)),
    poolRefresh: (context) => pool.refresh(context.parameters.poolId, serviceContext(context)),
  };
}
