/** `inn pool …`: storage pools. */
import type { Command } from "commander";
import type { StoragePool, StoragePoolChange, StoragePoolCreate } from "@innkeeper/contract/resource/storage-pool.ts";
import type { ApiClient } from "#client.ts";
import { addMetrics } from "#command/metrics.ts";
import { usageError, valueError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { namesOf, runList } from "#list.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { poolColumns, type PoolRow, poolText } from "#page/storage.ts";
import { byNameAndHost } from "#output/order.ts";
import { followTask } from "#task.ts";
import { addVerb, confirmOption, listOptions, type Surroundings, taskOptions } from "#verb.ts";

async function rows(api: ApiClient, items: readonly StoragePool[]): Promise<PoolRow[]> {
  const hostName = await namesOf(api, "hostList");
  return items.map((item) => ({ ...item, hostName: hostName(item.hostId) }));
}

async function showPool(invocation: Invocation, pool: StoragePool): Promise<void> {
  await invocation.show(pool, async () => (await rows(invocation.api, [pool])).map(poolText).join("\n"));
}

export function addPool(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List storage pools.",
    operations: ["poolList"],
    options: listOptions,
    run: async (invocation) => {
      const kinds = ["storage-pool"];
      await runList(invocation, {
        operation: "poolList",
        kinds,
        columns: poolColumns,
        rows,
        sort: "name",
        order: byNameAndHost,
      });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <pool>",
    summary: "Show a storage pool.",
    operations: ["poolGet"],
    examples: ["pool show default", "pool show kvm1/default"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "pool", name);
      await showPool(invocation, await invocation.api.call("poolGet", { parameters: { poolId: id } }));
    },
  });
  addMetrics(noun, surroundings, "pool");
  addCreate(noun, surroundings);
  addSet(noun, surroundings);
  addVerb(noun, surroundings, {
    usage: "refresh <pool>",
    summary: "Read a pool's volumes anew.",
    operations: ["poolRefresh"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "pool", name);
      await showPool(invocation, await invocation.api.call("poolRefresh", { parameters: { poolId: id } }));
    },
  });
  addVerb(noun, surroundings, {
    usage: "delete <pool>",
    alias: "rm",
    summary: "Stop and forget a pool; its volumes stay where they are.",
    operations: ["poolDelete"],
    options: (command) => taskOptions(confirmOption(command)),
    run: async (invocation, name) => {
      const pool = await find(invocation.api, "pool", name);
      await invocation.confirm(`Forget storage pool ${pool.name}? Its volumes stay where they are.`);
      await followTask(invocation, await invocation.api.call("poolDelete", { parameters: { poolId: pool.id } }));
    },
  });
}

function addCreate(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Define, build and start a storage pool on a host.",
    operations: ["poolCreate"],
    options: (command) =>
      taskOptions(command)
        .requiredOption("--host <host>", "on which host")
        .requiredOption("--path <folder>", "folder on the host; for NFS where it is mounted")
        .option("--nfs <server:/export>", "an NFS export (type netfs)")
        .option("--format <format>", "NFS: its format for libvirt, e.g. nfs")
        .option("--shared", "the same storage on every host that has a pool of this name; it is proved")
        .option("--no-autostart", "not started with the host"),
    examples: [
      "pool create vms --host kvm1 --path /srv/vms",
      "pool create nfs1 --host kvm1 --nfs filer:/export/vms --path /srv/nfs1 --shared",
    ],
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const nfs = options.text("nfs");
      const host = await find(api, "host", options.text("host") ?? "");
      const common = given({ shared: options.flag("shared"), autostart: options.flag("autostart") });
      const place = { host: host.id, name, path: options.text("path") ?? "" };
      const body: StoragePoolCreate =
        nfs === undefined
          ? { ...place, type: "dir", ...common }
          : { ...place, type: "netfs", source: nfsSource(nfs, options.text("format")), ...common };
      await followTask(invocation, await api.call("poolCreate", { body }), () => `created storage pool ${name}`);
    },
  });
}

function nfsSource(text: string, format: string | undefined): NonNullable<StoragePoolCreate["source"]> {
  // An IPv6 address has colons of its own: the path begins at `:/`.
  const at = text.indexOf(":/");
  if (at < 1) throw valueError("--nfs", `"${text}" is no NFS export`, "Write it like filer.example.org:/export/vms.");
  return { host: text.slice(0, at), path: text.slice(at + 1), ...given({ format }) };
}

function addSet(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "set <pool>",
    summary: "Declare a pool shared (which is proved on the hosts), or set autostart.",
    operations: ["poolChange"],
    options: (command) =>
      command
        .option("--shared", "the same storage on every host that has a pool of this name")
        .option("--no-shared", "each host's own")
        .option("--autostart", "started with the host")
        .option("--no-autostart", "not started with the host"),
    examples: ["pool set kvm1/nfs1 --shared"],
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const { id } = await find(api, "pool", name);
      const body: StoragePoolChange = given({ shared: options.flag("shared"), autostart: options.flag("autostart") });
      if (Object.keys(body).length === 0) throw usageError("nothing to change", "See `inn pool set --help`.");
      const pool = await api.call("poolChange", { parameters: { poolId: id }, body });
      await invocation.show(pool, () => `storage pool ${pool.name}: changed\n`);
    },
  });
}
