/** `inn system …`: the control plane itself. */
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import { given } from "#option/given.ts";
import { ago } from "#output/time.ts";
import { pairText } from "#output/table.ts";
import { addVerb, type Surroundings } from "#verb.ts";

export function addSystem(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "show",
    summary: "Show version, revision and resources of the control plane.",
    operations: ["systemGet"],
    run: async (invocation) => {
      const system = await invocation.api.call("systemGet");
      await invocation.show(system, () =>
        pairText([
          ["server", invocation.api.connection.server.href],
          ["version", system.version],
          ["started", ago(system.startedAt)],
          ["store", `${system.store}, revision ${system.revision}`],
          ["role", system.leaderUrl === undefined ? system.role : `${system.role} of ${system.leaderUrl}`],
          ["memory", `${Math.round(system.residentMiB)} MiB resident`],
          ["node", system.nodeVersion],
        ]),
      );
    },
  });
  addVerb(noun, surroundings, {
    usage: "health",
    summary: "Whether the control plane is up and can write its store; exits with 0 if so.",
    operations: ["systemHealth"],
    run: async (invocation) => {
      const health = await invocation.api.call("systemHealth", { timeoutMs: 10_000 });
      await invocation.show(health, () => `${health.status}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "metrics",
    summary: "Print the latest metrics in Prometheus' text format.",
    operations: ["systemMetrics"],
    options: (command) => command.option("--no-vms", "hosts, storage pools and counts alone"),
    run: async ({ api, options, terminal, signal }) => {
      const { stream } = await api.download("systemMetrics", { query: given({ vms: options.flag("vms") }) });
      await pipeline(stream, terminal.output, { signal, end: false });
    },
  });
  addVerb(noun, surroundings, {
    usage: "openapi",
    summary: "Print the API as an OpenAPI 3.1 document.",
    operations: ["systemOpenapi"],
    run: async (invocation) => {
      const document = await invocation.api.call("systemOpenapi");
      await invocation.show(document, () => `${JSON.stringify(document, undefined, 2)}\n`);
    },
  });
}
