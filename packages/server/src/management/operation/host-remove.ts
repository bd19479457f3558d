/** Forgets a host. Its VMs, pools and networks stay as they are and run on; only what is stored of them here goes. */
import { Type } from "typebox";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { AppError } from "#core/app-error.ts";
import { forgetHost } from "#management/host/forget-host.ts";
import type { HostOperationDeps } from "#management/host/host-operation-deps.ts";
import { operation } from "#management/task/operation.ts";
import { hostClaim, tasksOnHost } from "#management/task/resource-claim.ts";
import { hostTarget } from "./host-refresh.ts";

export function hostRemove(deps: HostOperationDeps) {
  const { inventory } = deps;
  return operation({
    name: "host.remove",
    input: Type.Object({ hostId: Type.String() }),
    check({ hostId }) {
      const host = inventory.require("host", hostId, { field: "hostId" });
      requireIdle(host, tasksOnHost(inventory, host.id)[0]);
    },
    claims: ({ hostId }) => ({ exclusive: [hostClaim(hostId)] }),
    target: ({ hostId }) => hostTarget(inventory, hostId),
    steps: [
      {
        name: "forget",
        pointOfNoReturn: true,
        async do({ input, repeated }) {
          const host = inventory.get("host", input.hostId) ?? inventory.by("host", "name", input.hostId)[0];
          if (host === undefined) return;
          // A VM that came here while its next task was in the queue: that task's claims are of the host it came from.
          requireIdle(
            host,
            tasksOnHost(inventory, host.id).find((task) => task.state !== "queued"),
            !repeated,
          );
          await deps.connections.detach(host.id);
          await forgetHost(deps, host.id);
        },
      },
    ],
  });
}

function requireIdle(host: Host, busy: Task | undefined, nothingDone = true): void {
  if (busy === undefined) return;
  const what = `${busy.operation} ${busy.target?.name ?? busy.target?.id ?? ""}`;
  const message = `Task ${busy.id} (${what}) still works on host ${host.name}. Nothing was changed.`;
  throw new AppError("conflict", message, { remedy: "Wait for its end or cancel it.", nothingDone });
}
