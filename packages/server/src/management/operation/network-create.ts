/** Defines and starts a libvirt network on a host. */
import { randomUUID } from "node:crypto";
import { BlockList, isIP } from "node:net";
import { Type } from "typebox";
import { NetworkCreate } from "@innkeeper/contract/resource/network.ts";
import { AppError } from "#core/app-error.ts";
import { operation } from "#management/task/operation.ts";
import type { OperationDeps } from "./deps.ts";
import { removedMeanwhile } from "./removed-meanwhile.ts";

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
      refuseOverlap(request, inventory.byHost("network", host.id));
    },
    claims: ({ request }) => ({ exclusive: [`network:${hostOf(request).id}:${request.name}`] }),
    target: () => undefined,
    steps: [
      {
        name: "plan",
        async do({ input, signal }) {
          const host = hostOf(input.request);
          const networks = await providers.get(host.id).network.list({ signal });
          if (networks.some((each) => each.name === input.request.name)) throw nameTaken(input.request.name, host.name);
          refuseOverlap(input.request, networks);
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
        async do({ input, result, signal }) {
          const { hostId, uuid } = result<Planned>("plan");
          await deps.hostSync.syncNetworks(hostId, { signal });
          const made = inventory.byHost("network", hostId).find((each) => each.uuid === uuid);
          if (made === undefined) throw removedMeanwhile(`Network ${input.request.name}`);
          return { networkId: made.id };
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

interface KnownNetwork {
  readonly name: string;
  readonly active: boolean;
  readonly addresses: readonly string[];
}

/** The host could reach only one of two networks that have the same addresses: libvirt refuses to start the second. */
function refuseOverlap({ address }: NetworkCreate, networks: readonly KnownNetwork[]): void {
  if (address === undefined) return;
  for (const { name, active, addresses } of networks) {
    const used = active ? addresses.find((each) => contains(each, address) || contains(address, each)) : undefined;
    if (used === undefined) continue;
    const message = `${address} is taken: network ${JSON.stringify(name)} of this host has ${used}. Nothing was made.`;
    throw new AppError("conflict", message, { field: "address", remedy: "Choose addresses that no network has." });
  }
}

/** Whether the address of the second lies in the network of the first, both as `address/prefix`. */
function contains(network: string, other: string): boolean {
  const [start = "", prefix = ""] = network.split("/");
  const [address = ""] = other.split("/");
  const family = isIP(start);
  if (family === 0 || family !== isIP(address)) return false;
  const list = new BlockList();
  list.addSubnet(start, Number(prefix), family === 4 ? "ipv4" : "ipv6");
  return list.check(address, family === 4 ? "ipv4" : "ipv6");
}
