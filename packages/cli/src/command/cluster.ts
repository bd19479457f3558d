/** `inn cluster …`: hosts that belong together. `inn host set --cluster` says which are in one. */
import type { Command } from "commander";
import type { ClusterChange } from "@innkeeper/contract/resource/cluster.ts";
import { addMetrics } from "#command/metrics.ts";
import { usageError } from "#cli-error.ts";
import { runList } from "#list.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { clusterColumns, clusterRows, clusterText } from "#page/cluster.ts";
import { addVerb, confirmOption, listOptions, type Surroundings } from "#verb.ts";

export function addCluster(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List clusters, with what their hosts have together.",
    operations: ["clusterList"],
    options: listOptions,
    run: async (invocation) => {
      await runList(invocation, {
        operation: "clusterList",
        kinds: ["cluster", "host"],
        columns: clusterColumns,
        rows: clusterRows,
        sort: "name",
      });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <cluster>",
    summary: "Show a cluster and its hosts.",
    operations: ["clusterGet"],
    run: async (invocation, name) => {
      const { api } = invocation;
      const { id } = await find(api, "cluster", name);
      const cluster = await api.call("clusterGet", { parameters: { clusterId: id } });
      await invocation.show(cluster, async () => (await clusterRows(api, [cluster])).map(clusterText).join("\n"));
    },
  });
  addMetrics(noun, surroundings, "cluster");
  addVerb(noun, surroundings, {
    usage: "create <name>",
    summary: "Create a cluster without hosts.",
    operations: ["clusterCreate"],
    options: (command) => command.option("--description <text>"),
    details: "Put hosts into it with `inn host add --cluster NAME` or `inn host set HOST… --cluster NAME`.",
    examples: ["cluster create production --description 'rack 1 to 4'"],
    run: async (invocation, name) => {
      const body = { name, ...given({ description: invocation.options.text("description") }) };
      const cluster = await invocation.api.call("clusterCreate", { body });
      await invocation.show(cluster, () => `created cluster ${cluster.name}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "set <cluster>",
    summary: "Change name or description.",
    operations: ["clusterChange"],
    options: (command) => command.option("--name <name>").option("--description <text>"),
    run: async (invocation, name) => {
      const { options, api } = invocation;
      const { id } = await find(api, "cluster", name);
      const body: ClusterChange = given({ name: options.text("name"), description: options.text("description") });
      if (Object.keys(body).length === 0) throw usageError("nothing to change", "See `inn cluster set --help`.");
      const cluster = await api.call("clusterChange", { parameters: { clusterId: id }, body });
      await invocation.show(cluster, () => `cluster ${cluster.name}: changed\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "delete <cluster>",
    alias: "rm",
    summary: "Delete a cluster that no host is in.",
    operations: ["clusterDelete"],
    options: confirmOption,
    run: async (invocation, name) => {
      const { api } = invocation;
      const cluster = await find(api, "cluster", name);
      await invocation.confirm(`Delete cluster ${cluster.name}?`);
      await api.call("clusterDelete", { parameters: { clusterId: cluster.id } });
      invocation.remark(`deleted cluster ${cluster.name}\n`);
    },
  });
}
