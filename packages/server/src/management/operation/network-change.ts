/** What network.start, network.stop and network.delete have in common: one idempotent step on one network, then a look. */
import { Type } from "typebox";
import type { Network } from "@innkeeper/contract/resource/network.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { operation } from "#management/task/operation.ts";
import type { HostNetwork, NetworkRef } from "#network/port.ts";
import type { OperationDeps } from "./deps.ts";

interface NetworkVerb {
  readonly name: `network.${string}`;
  refuse?(inventory: Inventory, network: Network): void;
  act(port: HostNetwork, network: NetworkRef, call: Call): Promise<void>;
}

function networkOperation(deps: OperationDeps, verb: NetworkVerb) {
  const { inventory, providers } = deps;
  return operation({
    name: verb.name,
    input: Type.Object({ networkId: Type.String() }),
    check({ networkId }) {
      const network = inventory.require("network", networkId, { field: "networkId" });
      providers.get(network.hostId);
      verb.refuse?.(inventory, network);
    },
    claims: ({ networkId }) => ({ exclusive: [`network:${networkId}`] }),
    target({ networkId }) {
      const network = inventory.get("network", networkId);
      return { kind: "network", id: networkId, ...(network === undefined ? {} : { name: network.name }) };
    },
    steps: [
      {
        name: "plan",
        async do({ input }) {
          const network = inventory.require("network", input.networkId, { field: "networkId" });
          verb.refuse?.(inventory, network);
          return { hostId: network.hostId, name: network.name, uuid: network.uuid };
        },
      },
      {
        name: "act",
        pointOfNoReturn: true,
        async do({ result, signal }) {
          const { hostId, ...network } = result<{ hostId: string } & NetworkRef>("plan");
          await verb.act(providers.get(hostId).network, network, { signal });
          await deps.hostSync.syncNetworks(hostId, { signal });
        },
      },
    ],
    outcome: ({ input }) => ({ networkId: input.networkId }),
  });
}

/** conflict when a VM that `matters` has a card on the network. */
export function refuseUsed(inventory: Inventory, network: Network, matters: (vm: Vm) => boolean): void {
  const users = inventory
    .byHost("vm", network.hostId)
    .filter((vm) => matters(vm) && vm.spec.nics.some((nic) => nic.type === "network" && nic.network === network.name));
  if (users.length === 0) return;
  const names = users.slice(0, 3).map((vm) => vm.name);
  const more = users.length > names.length ? ` and ${users.length - names.length} more` : "";
  throw new AppError(
    "conflict",
    `Network ${network.name} is used by VM ${names.join(", ")}${more}. Nothing was changed.`,
    {
      field: "networkId",
      remedy: "Attach their network cards elsewhere, or stop them first.",
    },
  );
}

export function networkStart(deps: OperationDeps) {
  return networkOperation(deps, { name: "network.start", act: (port, network, call) => port.start(network, call) });
}

export function networkStop(deps: OperationDeps) {
  return networkOperation(deps, {
    name: "network.stop",
    refuse: (inventory, network) => refuseUsed(inventory, network, isActive),
    act: (port, network, call) => port.stop(network, call),
  });
}

export function networkDelete(deps: OperationDeps) {
  return networkOperation(deps, {
    name: "network.delete",
    refuse: (inventory, network) => refuseUsed(inventory, network, () => true),
    act: (port, network, call) => port.delete(network, call),
  });
}
