/** `inn snapshot …`: a snapshot is named by its id, or by VM and name. */
import type { Command } from "commander";
import type { Snapshot, SnapshotCreate } from "@innkeeper/contract/resource/snapshot.ts";
import type { ApiClient } from "#client.ts";
import { tableError, usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { listAll, namesOf, runList } from "#list.ts";
import { find, isIdOf } from "#lookup.ts";
import { given } from "#option/given.ts";
import { snapshotColumns, type SnapshotRow, snapshotText, snapshotTree } from "#page/snapshot.ts";
import { followTask } from "#task.ts";
import { addVerb, confirmOption, listOptions, type Surroundings, taskOptions } from "#verb.ts";

async function rows(api: ApiClient, items: readonly Snapshot[]): Promise<SnapshotRow[]> {
  const vmName = await namesOf(api, "vmList");
  return items.map((item) => ({ ...item, vmName: vmName(item.vmId) }));
}

/** `<vm> <name>`, or the id alone. */
async function findSnapshot(api: ApiClient, first: string, second: string | undefined): Promise<Snapshot> {
  if (second === undefined) {
    if (isIdOf("snapshot", first)) return await find(api, "snapshot", first);
    throw usageError("which snapshot?", "Name the VM and the snapshot, or the snapshot's id.");
  }
  const vm = await find(api, "vm", first);
  return await find(api, "snapshot", second, { vmId: vm.id });
}

export async function snapshotsOf(api: ApiClient, vmId: string): Promise<readonly Snapshot[]> {
  return (await listAll(api, "snapshotList", { filter: `vmId=${vmId}` })).items;
}

export function addSnapshot(noun: Command, surroundings: Surroundings): void {
  addCreate(noun, surroundings);
  addVerb(noun, surroundings, {
    usage: "list [vm]",
    alias: "ls",
    summary: "Show a VM's snapshots as a tree, or list all.",
    operations: ["snapshotList"],
    options: listOptions,
    examples: ["snapshot list web", "snapshot list web -o json"],
    run: async (invocation, vmName?: string) => {
      const vm = vmName === undefined ? undefined : await find(invocation.api, "vm", vmName);
      const { options } = invocation;
      const plain = ["filter", "sort", "limit", "columns"].every((name) => options.text(name) === undefined);
      if (vm !== undefined && plain && invocation.format === "table" && options.flag("watch") !== true) {
        const lines = snapshotTree(await snapshotsOf(invocation.api, vm.id));
        invocation.print(lines.length === 0 ? `${vm.name} has no snapshots\n` : `${lines.join("\n")}\n`);
        return;
      }
      const filter = vm === undefined ? undefined : `vmId=${vm.id}`;
      const kinds = ["snapshot"];
      await runList(invocation, {
        operation: "snapshotList",
        kinds,
        columns: snapshotColumns,
        rows,
        filter,
        sort: "createdAt",
      });
    },
  });
  addVerb(noun, surroundings, {
    usage: "show <vm> [snapshot]",
    summary: "Show a snapshot, by VM and name or by id.",
    operations: ["snapshotGet"],
    run: async (invocation, first, second?: string) => {
      const { api } = invocation;
      const { id } = await findSnapshot(api, first, second);
      const snapshot = await api.call("snapshotGet", { parameters: { snapshotId: id } });
      await invocation.show(snapshot, async () => {
        const all = await snapshotsOf(api, snapshot.vmId);
        const parent = all.find(({ id }) => id === snapshot.parentId)?.name ?? "none";
        return (await rows(api, [snapshot])).map((row) => snapshotText(row, parent)).join("\n");
      });
    },
  });
  addChanges(noun, surroundings);
}

function addCreate(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "create <vm> [name]",
    summary: "Take a snapshot of a VM's disks, or of disks and memory.",
    operations: ["snapshotCreate"],
    options: (command) =>
      taskOptions(command)
        .option("--name <name>", "the snapshot's name, where it is not an argument")
        .option("--description <text>")
        .option("--memory", "with the guest's memory: a revert goes on in the very moment")
        .option("--quiesce", "freeze the guest's file systems meanwhile (guest agent)"),
    examples: ["snapshot create web before-upgrade --memory", "snapshot create web nightly --quiesce"],
    run: async (invocation, vmName, second?: string) => {
      const { options, api } = invocation;
      const name = second ?? options.text("name");
      if (name === undefined) throw usageError("the snapshot needs a name", "inn snapshot create <vm> <name>");
      const vm = await find(api, "vm", vmName);
      const body: SnapshotCreate = {
        name,
        ...given({
          description: options.text("description"),
          memory: options.flag("memory"),
          quiesce: options.flag("quiesce"),
        }),
      };
      const task = await api.call("snapshotCreate", { parameters: { vmId: vm.id }, body });
      await followTask(invocation, task, () => `took snapshot ${name} of ${vm.name}`);
    },
  });
}

function addChanges(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "revert <vm> [snapshot]",
    summary: "Bring a VM back to a snapshot.",
    operations: ["snapshotRevert"],
    options: (command) => taskOptions(confirmOption(command)),
    examples: ["snapshot revert web before-upgrade"],
    run: async (invocation, first, second?: string) => {
      const snapshot = await findSnapshot(invocation.api, first, second);
      await confirmRevert(invocation, snapshot);
      const task = await invocation.api.call("snapshotRevert", { parameters: { snapshotId: snapshot.id } });
      await followTask(invocation, task, () => `reverted to snapshot ${snapshot.name}`);
    },
  });
  addVerb(noun, surroundings, {
    usage: "delete <vm> [snapshot]",
    alias: "rm",
    summary: "Delete a snapshot and merge its layer; the VM's state stays as it is.",
    operations: ["snapshotDelete"],
    details:
      "Layers are merged by a QEMU that runs: a VM that is off is started paused for it, with its memory taken, and\nstopped again afterwards. A VM that can't start keeps its snapshots until it can.",
    options: (command) => taskOptions(confirmOption(command)).option("--children", "all snapshots below it too"),
    run: async (invocation, first, second?: string) => {
      const snapshot = await findSnapshot(invocation.api, first, second);
      await invocation.confirm(`Delete snapshot ${snapshot.name}? The VM's present state stays.`);
      const query = given({ children: invocation.options.flag("children") });
      const task = await invocation.api.call("snapshotDelete", { parameters: { snapshotId: snapshot.id }, query });
      await followTask(invocation, task, () => `deleted snapshot ${snapshot.name}`);
    },
  });
}

async function confirmRevert(invocation: Invocation, snapshot: Snapshot): Promise<void> {
  const vm = await invocation.api.call("vmGet", { parameters: { vmId: snapshot.vmId } });
  if (vm.state === "unknown") throw tableError("invalid_state", `the host of ${vm.name} can't be asked now`);
  await invocation.confirm(`Bring ${vm.name} back to ${snapshot.name}? What happened since is lost.`);
}
