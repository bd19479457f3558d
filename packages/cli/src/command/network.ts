/** `inn network …`: libvirt networks that guests attach to. */
import type { Command } from "commander";
import type { Network, NetworkCreate } from "@innkeeper/contract/resource/network.ts";
import type { ApiClient } from "#client.ts";
import { usageError, valueError } from "#cli-error.ts";
import type { Options } from "#invocation.ts";
import { namesOf, runList } from "#list.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { byNameAndHost } from "#output/order.ts";
import { type Column, pairText } from "#output/table.ts";
import { followTask } from "#task.ts";
import { addVerb, confirmOption, listOptions, type Surroundings, taskOptions } from "#verb.ts";

type NetworkRow = Network & { readonly hostName: string };

const columns: readonly Column<NetworkRow>[] = [
  { name: "name", value: (network) => network.name },
  { name: "host", value: (network) => network.hostName },
  { name: "state", value: (network) => (network.active ? "active" : "inactive") },
  { name: "forward", value: (network) => network.forwardMode },
  { name: "bridge", value: (network) => network.bridge ?? "" },
  { name: "addresses", value: (network) => network.addresses.join(", ") },
  { name: "dhcp", value: (network) => (network.dhcp ? "yes" : "no") },
  { name: "autostart", value: (network) => (network.autostart ? "yes" : "no"), extra: true },
  { name: "id", value: (network) => network.id, extra: true },
];

async function rows(api: ApiClient, items: readonly Network[]): Promise<NetworkRow[]> {
  const hostName = await namesOf(api, "hostList");
  return items.map((item) => ({ ...item, hostName: hostName(item.hostId) }));
}

function networkText(network: NetworkRow): string {
  return pairText(columns.map((column) => [column.name, column.value(network)] as const));
}

export function addNetwork(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List networks.",
    operations: ["networkList"],
    options: listOptions,
    run: async (invocation) => {
      const kinds = ["network"];
      await runList(invocation, { operation: "networkList", kinds, columns, rows, sort: "name", order: byNameAndHost });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <network>",
    summary: "Show a network.",
    operations: ["networkGet"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "network", name);
      const network = await invocation.api.call("networkGet", { parameters: { networkId: id } });
      await invocation.show(network, async () => (await rows(invocation.api, [network])).map(networkText).join("\n"));
    },
  });
  addCreate(noun, surroundings);
  for (const [usage, operation, summary] of [
    ["start <network>", "networkStart", "Start a network."],
    ["stop <network>", "networkStop", "Stop a network that no running VM uses."],
  ] as const) {
    addVerb(noun, surroundings, {
      usage,
      summary,
      operations: [operation],
      options: taskOptions,
      run: async (invocation, name) => {
        const { id } = await find(invocation.api, "network", name);
        await followTask(invocation, await invocation.api.call(operation, { parameters: { networkId: id } }));
      },
    });
  }
  addVerb(noun, surroundings, {
    usage: "delete <network>",
    alias: "rm",
    summary: "Stop and forget a network that no VM uses.",
    operations: ["networkDelete"],
    options: (command) => taskOptions(confirmOption(command)),
    run: async (invocation, name) => {
      const network = await find(invocation.api, "network", name);
      await invocation.confirm(`Delete network ${network.name}?`);
      await followTask(
        invocation,
        await invocation.api.call("networkDelete", { parameters: { networkId: network.id } }),
      );
    },
  });
}

function addCreate(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Define and start a network on a host.",
    operations: ["networkCreate"],
    options: (command) =>
      taskOptions(command)
        .requiredOption("--host <host>", "on which host")
        .option("--bridge <bridge>", "attach guests to this bridge of the host")
        .option("--nat <address/prefix>", "a network of its own behind NAT; this is the host's address in it")
        .option("--isolated [address/prefix]", "a network of its own that leads nowhere")
        .option("--dhcp <first-last>", "hand out these addresses")
        .option("--no-autostart", "not started with the host"),
    examples: [
      "network create lan --host kvm1 --bridge br0",
      "network create lab --host kvm1 --nat 10.9.0.1/24 --dhcp 10.9.0.100-10.9.0.200",
    ],
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const host = await find(api, "host", options.text("host") ?? "");
      const body: NetworkCreate = {
        host: host.id,
        name,
        ...mode(options),
        ...given({ autostart: options.flag("autostart") }),
      };
      await followTask(invocation, await api.call("networkCreate", { body }), () => `created network ${name}`);
    },
  });
}

function mode(options: Options): Pick<NetworkCreate, "forwardMode" | "bridge" | "address" | "dhcp"> {
  const bridge = options.text("bridge");
  const nat = options.text("nat");
  const isolated = options.flag("isolated") === true || options.text("isolated") !== undefined;
  if ([bridge !== undefined, nat !== undefined, isolated].filter(Boolean).length !== 1) {
    throw usageError("exactly one of --bridge, --nat and --isolated is needed");
  }
  if (bridge !== undefined) return { forwardMode: "bridge", bridge };
  const range = options.text("dhcp");
  const match = range === undefined ? undefined : /^([0-9.]+)-([0-9.]+)$/.exec(range);
  if (match === null) throw valueError("--dhcp", `"${range}" is no range`, "Write it like 10.9.0.100-10.9.0.200.");
  const dhcp = match === undefined ? undefined : { start: match[1] ?? "", end: match[2] ?? "" };
  return {
    forwardMode: nat === undefined ? "isolated" : "nat",
    ...given({ address: nat ?? options.text("isolated"), dhcp }),
  };
}
