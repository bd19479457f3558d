/** `inn vm …`: everything about virtual machines; the larger verbs are in files of their own. */
import { createWriteStream } from "node:fs";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import type { Command } from "commander";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { ApiClient } from "#client.ts";
import { addMetrics } from "#command/metrics.ts";
import { snapshotsOf } from "#command/snapshot.ts";
import { addConsole } from "#command/vm-console.ts";
import { addClone, addCreate, addPreview } from "#command/vm-create.ts";
import { addEdit } from "#command/vm-edit.ts";
import { addMigrate } from "#command/vm-migrate.ts";
import { addPower } from "#command/vm-power.ts";
import { addSet } from "#command/vm-set.ts";
import { usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { namesOf, runList } from "#list.ts";
import { find } from "#lookup.ts";
import { given } from "#option/given.ts";
import { guestText, statisticsText } from "#page/guest.ts";
import { vmColumns, type VmRow, vmText } from "#page/vm.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { followTask } from "#task.ts";
import { addVerb, confirmOption, listOptions, revisionOption, type Surroundings, taskOptions } from "#verb.ts";

async function rows(api: ApiClient, items: readonly Vm[]): Promise<VmRow[]> {
  const hostName = await namesOf(api, "hostList");
  return items.map((item) => ({ ...item, hostName: hostName(item.hostId) }));
}

export function addVm(noun: Command, surroundings: Surroundings): void {
  addRead(noun, surroundings);
  addCreate(noun, surroundings);
  addPreview(noun, surroundings);
  addSet(noun, surroundings);
  addEdit(noun, surroundings);
  addPower(noun, surroundings);
  addConsole(noun, surroundings);
  addClone(noun, surroundings);
  addMigrate(noun, surroundings);
  addVerb(noun, surroundings, {
    usage: "rename <vm> <name>",
    summary: "Rename a stopped VM.",
    operations: ["vmRename"],
    options: (command) => revisionOption(taskOptions(command)),
    run: async (invocation, vmName, name) => {
      const vm = await find(invocation.api, "vm", vmName);
      const ifRevision = invocation.options.integer("ifRevision");
      const task = await invocation.api.call("vmRename", { parameters: { vmId: vm.id }, body: { name }, ifRevision });
      await followTask(invocation, task, () => `renamed ${vm.name} to ${name}`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "delete <vm...>",
    alias: "rm",
    summary: "Delete VMs, with their disks or without.",
    operations: ["vmDelete"],
    options: (command) =>
      taskOptions(confirmOption(command))
        .option("--disks", "their disks, firmware variables, TPM state and saved memory, too; otherwise they stay")
        .option("--force", "force them off first if they run"),
    examples: ["vm delete web --disks", "vm delete test-1 test-2 --disks --force --yes"],
    run: remove,
  });
  addInspection(noun, surroundings);
}

async function remove(invocation: Invocation, ...names: string[]): Promise<void> {
  const { options, api } = invocation;
  const vms = await Promise.all(names.map(async (name) => await find(api, "vm", name)));
  const withDisks = options.flag("disks") === true;
  const all = vms.map(({ name }) => name).join(", ");
  await invocation.confirm(
    `Delete ${all}${withDisks ? " with all disks" : " (disks, firmware variables and TPM state stay)"}?`,
  );
  const query = given({ deleteDisks: options.flag("disks"), force: options.flag("force") });
  for (const vm of vms) {
    const task = await api.call("vmDelete", { parameters: { vmId: vm.id }, query });
    await followTask(invocation, task, (ended) => `deleted ${vm.name}${keptText(ended)}`);
  }
}

/** Not all of a VM's disks are its own to delete; without --disks none goes. */
function keptText(task: Task): string {
  const kept = (task.result?.["keptVolumes"] ?? []) as readonly { readonly path: string; readonly reason: string }[];
  return kept.map(({ path, reason }) => `\n  kept ${path}: ${reason}`).join("");
}

function addRead(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "list",
    alias: "ls",
    summary: "List VMs.",
    operations: ["vmList"],
    options: listOptions,
    examples: [
      "vm list",
      "vm list --filter 'state=running and memoryMiB>=4096 and tag:prod' --sort -memoryMiB",
      "vm list --filter 'host=kvm1 or host.tag=rack2'",
      "vm list --filter 10.0.7.12",
      "vm list -o json --fields name,state,hostId",
      "vm list --watch",
      "vm list -o name",
    ],
    run: async (invocation) => {
      const kinds = ["vm", "host", "cluster"];
      await runList(invocation, { operation: "vmList", kinds, columns: vmColumns, rows, sort: "name" });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <vm>",
    summary: "Show a VM: state, addresses, disks, network cards, snapshots, what waits for the next start.",
    operations: ["vmGet"],
    examples: ["vm show web", "vm show web -o yaml"],
    run: async (invocation, name) => {
      const { api } = invocation;
      const { id } = await find(api, "vm", name);
      const vm = await api.call("vmGet", { parameters: { vmId: id } });
      await invocation.show(vm, async () => {
        const [snapshots, [row]] = await Promise.all([snapshotsOf(api, id), rows(api, [vm])]);
        return row === undefined ? "" : vmText(row, snapshots);
      });
    },
  });
}

function addInspection(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "xml <vm>",
    summary: "Print the domain XML of its host.",
    operations: ["vmXml"],
    options: (command) => command.option("--inactive", "the configuration of the next start"),
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "vm", name);
      const query = given({ inactive: invocation.options.flag("inactive") });
      const { stream } = await invocation.api.download("vmXml", { parameters: { vmId: id }, query });
      invocation.print(`${(await text(stream)).trimEnd()}\n`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "guest <vm>",
    summary: "Show what the guest agent tells: system, users, file systems, addresses.",
    operations: ["vmGuest"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "vm", name);
      const guest = await invocation.api.call("vmGuest", { parameters: { vmId: id } });
      await invocation.show(guest, () => guestText(guest));
    },
  });
  addVerb(noun, surroundings, {
    usage: "stats <vm>",
    alias: "statistics",
    summary: "Show counters of CPU, memory, disks and network cards.",
    operations: ["vmStatistics"],
    run: async (invocation, name) => {
      const { id } = await find(invocation.api, "vm", name);
      const statistics = await invocation.api.call("vmStatistics", { parameters: { vmId: id } });
      await invocation.show(statistics, () => statisticsText(statistics));
    },
  });
  addMetrics(noun, surroundings, "vm");
  addVerb(noun, surroundings, {
    usage: "screenshot <vm> <file>",
    summary: "Save a picture of the VM's screen; `-` is standard output.",
    operations: ["vmScreenshot"],
    examples: ["vm screenshot web web.png"],
    run: screenshot,
  });
}

async function screenshot(invocation: Invocation, name: string, file: string): Promise<void> {
  const { api, terminal } = invocation;
  if (file === "-" && terminal.outputIsTerminal)
    throw usageError("a picture is nothing for a terminal", "Redirect the output.");
  const { id } = await find(api, "vm", name);
  const picture = await api.download("vmScreenshot", { parameters: { vmId: id } });
  if (file === "-") await pipeline(picture.stream, terminal.output, { end: false });
  else await pipeline(picture.stream, createWriteStream(file));
  invocation.remark(file === "-" ? "" : `saved ${file} (${picture.type})\n`);
}
