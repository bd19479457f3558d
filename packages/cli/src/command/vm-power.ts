/** The power verbs of `inn vm`: each takes one VM or several, which are all asked before the first is waited for. */
import type { Command } from "commander";
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { followTask } from "#task.ts";
import { addVerb, type Surroundings, taskOptions } from "#verb.ts";

interface PowerVerb {
  readonly verb: string;
  readonly operation: Extract<OperationId, `vm${string}`>;
  readonly alias?: string;
  readonly summary: string;
  readonly done: string;
}

const plainVerbs = [
  { verb: "start", operation: "vmStart", summary: "Power VMs on.", done: "started" },
  { verb: "force-off", operation: "vmForceOff", summary: "Cut VMs' power.", done: "cut the power of" },
  { verb: "reboot", operation: "vmReboot", summary: "Ask guests to reboot.", done: "rebooted" },
  { verb: "reset", operation: "vmReset", summary: "Press the reset button.", done: "reset" },
  {
    verb: "suspend",
    operation: "vmSuspend",
    summary: "Pause VMs' CPUs; their memory stays on the host.",
    done: "paused",
  },
  { verb: "resume", operation: "vmResume", summary: "Let paused VMs go on.", done: "resumed" },
] as const satisfies readonly PowerVerb[];

export function addPower(noun: Command, surroundings: Surroundings): void {
  for (const { verb, operation, summary, done } of plainVerbs) {
    addVerb(noun, surroundings, {
      usage: `${verb} <vm...>`,
      summary,
      operations: [operation],
      options: taskOptions,
      examples: [`vm ${verb} web`, `vm ${verb} web db --no-wait`],
      run: async (invocation, ...names) => {
        const ask = async (vmId: string): Promise<Task> =>
          await invocation.api.call(operation, { parameters: { vmId } });
        await forEach(invocation, names, done, ask);
      },
    });
  }
  addVerb(noun, surroundings, {
    usage: "shutdown <vm...>",
    alias: "stop",
    summary: "Ask guests to shut down, and wait until they have.",
    operations: ["vmShutdown"],
    options: (command) =>
      taskOptions(command).option("--guest-timeout <duration>", "how long the guest may take: 90, 5m"),
    examples: ["vm shutdown web", "vm stop web --guest-timeout 5m"],
    run: async (invocation, ...names) => {
      const body = given({ timeoutMs: invocation.options.durationMs("guestTimeout") });
      const ask = async (vmId: string): Promise<Task> =>
        await invocation.api.call("vmShutdown", { parameters: { vmId }, body });
      await forEach(invocation, names, "shut down", ask);
    },
  });
}

/** The first failure ends the command, after all were asked. */
async function forEach(
  invocation: Invocation,
  names: readonly string[],
  done: string,
  ask: (vmId: string) => Promise<Task>,
): Promise<void> {
  const vms = await Promise.all(names.map(async (name) => await find(invocation.api, "vm", name)));
  const tasks = await Promise.all(vms.map(async (vm) => ({ vm, task: await ask(vm.id) })));
  for (const { vm, task } of tasks) await followTask(invocation, task, () => `${done} ${vm.name}`);
}
