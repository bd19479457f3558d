/** `inn event …`: what happened, and what happens now. */
import type { Command } from "commander";
import { runList } from "#list.ts";
import { eventColumns } from "#page/task.ts";
import { addVerb, listOptions, type Surroundings } from "#verb.ts";
import { watch } from "#watch.ts";

export function addEvent(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List events, newest first.",
    operations: ["eventList"],
    options: listOptions,
    examples: ["event list --limit 30", "event list --filter severity=error", "event list --watch"],
    run: async (invocation) => {
      const kinds = ["event"];
      await runList(invocation, { operation: "eventList", kinds, columns: eventColumns, rows: (_api, items) => items });
    },
  });
  addVerb(noun, surroundings, {
    usage: "watch",
    summary: "Print every change of every resource as it happens, one JSON object a line.",
    operations: ["watch"],
    options: (command) =>
      command
        .option("--kind <kinds>", "only these kinds, comma-separated: vm, host, task, event …")
        .option("--since <revision>", "from this revision of the change log on (default: now)"),
    examples: ["event watch --kind vm,host", "event watch | jq -r '[.kind, .id, .operation] | @tsv'"],
    run: async (invocation) => {
      const kinds = invocation.options.text("kind")?.split(",");
      const since = invocation.options.integer("since");
      const { signal } = invocation;
      for await (const change of watch(invocation.api, { since, signal, ...(kinds === undefined ? {} : { kinds }) })) {
        invocation.print(`${JSON.stringify(change)}\n`);
      }
    },
  });
}
