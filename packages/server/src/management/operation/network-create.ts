/** Defines and starts a libvirt network on a host. */
import { randomUUID } from "node:crypto";
import { Type } from "typebox";
import { NetworkCreate } from "@innkeeper/contract/resource/network.ts";
import { AppError } from "#core/app-error.ts";
import { operation } from "#management/task/operation.ts";
import type { OperationDeps } from "./deps.ts";

interface Planned {
  readonly hostId: string;
  /** What the network is known by from its first moment: by it ours is told from one that is made behind our back. */
  readonly uuid: string;
}

export function networkCreate(deps: OperationDeps) {
  const { inventory, providers } = deps;
  const hostOf = (request: NetworkCreate) => inventory.require("host", request.host, { field: "host" });
  return operation({
    name: "network.create",
    input: Type.Object({ request: NetworkCreate }),
    check({ request }) {
      const host = hostOf(request);
      const taken = inventory.byHost("network", host.id).some((network) => network.name === request.name);
      if (taken) throw nameTaken(request.name, host.name);
      providers.get(host.id).network.check(definition(request));
    },
    claims: ({ request }) => ({ exclusive: [`network:${request.host}:${request.name}`] }),
    target: () => undefined,
    steps: [
      {
        name: "plan",
        async do({ input, signal }) {
          const host = hostOf(input.request);
          const networks = await providers.get(host.id).network.list({ signal });
          if (networks.some((each) => each.name === input.request.name)) throw nameTaken(input.request.name, host.name);
          return { hostId: host.id, uuid: randomUUID() };
        },
      },
      {
        name: "create",
        async do({ input, result, signal }) {
          const { hostId, uuid } = result<Planned>("plan");
          await providers.get(hostId).network.create({ ...definition(input.request), uuid }, { signal });
        },
        async undo({ input, resultIfAny, signal }) {
          const planned = resultIfAny<Planned>("plan");
          if (planned === undefined) return;
          const { network } = providers.get(planned.hostId);
          await network.delete({ name: input.request.name, uuid: planned.uuid }, { signal });
          await deps.hostSync.syncNetworks(planned.hostId, { signal });
        },
      },
      {
        name: "sync",
        async do({ result, signal }) {
          const { hostId, uuid } = result<Planned>("plan");
          await deps.hostSync.syncNetworks(hostId, { signal });
          const made = inventory.byHost("network", hostId).find((each) => each.uuid === uuid);
          return { networkId: made?.id };
        },
      },
    ],
    outcome: ({ input, result }) => ({ ...result("sync"), name: input.request.name }),
  });
}

function definition(request: NetworkCreate): Omit<NetworkCreate, "host"> {
  const { host: _host, ...network } = request;
  return network;
}

function nameTaken(name: string, hostName: string): AppError {
  const message = `There is already a network ${JSON.stringify(name)} on host ${hostName}.`;
  return new AppError("name_taken", message, { field: "name" });
}
