/** Hosts: what needs no task. */
import { type HandlerTable, serviceContext } from "#rest/handler.ts";
import type { RestServices } from "#rest/service.ts";

export function hostHandlers({ host }: RestServices): HandlerTable {
  return {
    hostChange: (context) => host.change(context.parameters.hostId, context.body, serviceContext(context)),
  };
}
