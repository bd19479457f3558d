/** Forgets a host. Its VMs, pools and networks stay as they are and run on; only what is stored of them here goes. */
import { Type } from "typebox";
import { AppError } from "#core/app-error.ts";
import { forgetHost } from "#management/host/forget-host.ts";
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import { operation } from "#management/task/operation.ts";
import { hostTarget } from "./host-refresh.ts";

export function hostRemove(deps: HostOperationDeps) {
  const { inventory } = deps;
  return operation({
    name: "host.remove",
    input: Type.Object({ hostId: Type.String() }),
    check({ hostId }) {
      const host = inventory.require("host", hostId, { field: "hostId" });
      const vmIds = new Set<string>(inventory.byHost("vm", host.id).map((vm) => vm.id));
      const busy = inventory
        .list("task")
        .find((task) => task.finishedAt === undefined && task.target !== undefined && vmIds.has(task.target.id));
      if (busy === undefined) return;
      const what = `${busy.operation} ${busy.target?.name ?? busy.target?.id ?? ""}`;
      throw new AppError(
        "conflict",
        `Task ${busy.id} (${what}) still works on host ${host.name}. Nothing was changed.`,
        {
          remedy: "Wait for its end or cancel it.",
        },
      );
    },
    claims: ({ hostId }) => ({ exclusive: [`host:${hostId}`] }),
    target: ({ hostId }) => hostTarget(inventory, hostId),
    steps: [
      {
        name: "forget",
        pointOfNoReturn: true,
        async do({ input }) {
          const host = inventory.get("host", input.hostId) ?? inventory.by("host", "name", input.hostId)[0];
          if (host === undefined) return;
          await deps.connections.detach(host.id);
          await forgetHost(deps, host.id);
        },
      },
    ],
  });
}
