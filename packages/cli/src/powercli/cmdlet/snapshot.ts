/** New-Snapshot, Get-Snapshot and Remove-Snapshot. */
import type { Snapshot, SnapshotCreate } from "@innkeeper/contract/resource/snapshot.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { vmCan } from "@innkeeper/contract/state/vm.ts";
import { usageError } from "#cli-error.ts";
import { listAll, namesOf } from "#list.ts";
import { find, isIdOf } from "#lookup.ts";
import { given } from "#option/given.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { runAsync, vmParameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { snapshotKind, snapshotObject } from "#powercli/object/snapshot.ts";
import { select } from "#powercli/select.ts";

export const newSnapshot: Cmdlet = {
  name: "New-Snapshot",
  summary: "Take a snapshot of a VM's disks, or of disks and memory.",
  operations: ["snapshotCreate"],
  impact: "changes",
  parameters: [
    vmParameter,
    { name: "Name", position: 1, required: true, help: "what to call it" },
    { name: "Description", help: "what it is for" },
    { name: "Memory", type: "switch", help: "with the guest's memory, if it runs" },
    { name: "Quiesce", type: "switch", help: "freeze the guest's file systems meanwhile (guest agent), if it runs" },
    runAsync,
  ],
  examples: [
    'New-Snapshot -VM "Ubuntu-Server" -Name "Backup-2024-01" -Description "Monthly backup snapshot"',
    "New-Snapshot -VM web -Name before-upgrade -Memory",
  ],
  parameterOfField: { name: "Name", description: "Description", memory: "Memory", quiesce: "Quiesce" },
  run: async (run) => {
    const { api, bound } = run;
    const name = bound.text("Name") ?? "";
    const vms = await run.chosen("VM", "vm");
    await run.perform(
      vms.map((vm) => ({
        action: `Create snapshot ${name}`,
        target: vm.name,
        start: async () => {
          const body: SnapshotCreate = {
            name,
            ...given({ description: bound.text("Description") }),
            ...ofRunning(run, vm),
          };
          return await api.call("snapshotCreate", { parameters: { vmId: vm.id }, body });
        },
        done: async (task) => await showMade(run, vm, task),
      })),
    );
  },
};

/** As PowerCLI: what only a running guest can have is left out for one that is off. */
function ofRunning(run: CmdletRun, vm: Vm): Pick<SnapshotCreate, "memory" | "quiesce"> {
  const wish = given({ memory: run.bound.flag("Memory"), quiesce: run.bound.flag("Quiesce") });
  if (!vmCan.start(vm)) return wish;
  if (wish.memory === true) run.warn(`${vm.name} is off: the snapshot is without memory.`);
  return {};
}

async function showMade(run: CmdletRun, vm: Vm, task: Task): Promise<void> {
  const id = task.result?.["snapshotId"];
  const name = run.bound.text("Name") ?? "";
  const snapshot = await find(run.api, "snapshot", typeof id === "string" ? id : name, { vmId: vm.id });
  run.write(snapshotKind, snapshotObject(snapshot, vm.name));
}

export const getSnapshot: Cmdlet = {
  name: "Get-Snapshot",
  summary: "List the snapshots of VMs.",
  operations: ["snapshotList"],
  parameters: [
    vmParameter,
    { name: "Name", list: true, position: 1, help: "only these; with wildcards" },
    { name: "Id", list: true, help: "only these, by id" },
  ],
  examples: ["Get-Snapshot -VM web", 'Get-Snapshot web "before*"', "Get-VM | inn Get-Snapshot"],
  run: async (run) => {
    const vms = await run.chosen("VM", "vm");
    const texts = [...run.bound.texts("Name"), ...run.bound.texts("Id")];
    if (texts.length === 0) await showAll(run, vms);
    else for (const vm of vms) await showNamed(run, vm, texts);
  },
};

/** In the order of the VMs, each VM's as they were taken; one request for all. */
async function showAll(run: CmdletRun, vms: readonly Vm[]): Promise<void> {
  const [only, ...others] = vms;
  if (only === undefined) return;
  const filter = others.length === 0 ? { filter: `vmId=${only.id}` } : {};
  const { items } = await listAll(run.api, "snapshotList", { sort: "createdAt", ...filter });
  const byVm = Map.groupBy(items, ({ vmId }) => vmId);
  for (const vm of vms) {
    for (const snapshot of byVm.get(vm.id) ?? []) run.write(snapshotKind, snapshotObject(snapshot, vm.name));
  }
}

async function showNamed(run: CmdletRun, vm: Vm, texts: readonly string[]): Promise<void> {
  const wish = { parameter: "-Name", vmId: vm.id, mayBeNone: true };
  for (const text of texts) {
    await run.attempt(async () => {
      for (const snapshot of await select(run.api, "snapshot", [{ text, literal: false }], wish)) {
        run.write(snapshotKind, snapshotObject(snapshot, vm.name));
      }
    });
  }
}

export const removeSnapshot: Cmdlet = {
  name: "Remove-Snapshot",
  summary: "Remove snapshots; the VM's present state stays.",
  operations: ["snapshotDelete"],
  impact: "asks",
  parameters: [
    {
      name: "Snapshot",
      list: true,
      position: 0,
      required: true,
      pipeline: true,
      noun: "snapshot",
      help: "the snapshots: ids, VM/name, or with -VM names",
    },
    { name: "VM", noun: "vm", help: "whose snapshots they are (Innkeeper's own parameter)" },
    { name: "RemoveChildren", type: "switch", help: "all snapshots below them too" },
    runAsync,
  ],
  examples: [
    "Get-Snapshot -VM web -Name before-upgrade | inn Remove-Snapshot -Confirm:$false",
    "Remove-Snapshot -VM web -Snapshot before-upgrade -RemoveChildren -Confirm:$false",
  ],
  run: async (run) => {
    const { api, bound } = run;
    const children = bound.flag("RemoveChildren");
    const snapshots = await meantSnapshots(run);
    const vmName = await namesOf(api, "vmList");
    // Younger ones first, so that none is gone with its parent before its turn.
    const ordered = snapshots.toSorted((left, right) => right.createdAt.localeCompare(left.createdAt));
    await run.perform(
      ordered.map((snapshot) => ({
        action: children === true ? "Remove snapshot and its children" : "Remove snapshot",
        target: `${vmName(snapshot.vmId)}/${snapshot.name}`,
        start: async () =>
          await api.call("snapshotDelete", { parameters: { snapshotId: snapshot.id }, query: given({ children }) }),
      })),
    );
  },
};

async function meantSnapshots(run: CmdletRun): Promise<readonly Snapshot[]> {
  const { api, bound } = run;
  const vmText = bound.text("VM");
  const found: Snapshot[] = [];
  for (const reference of await run.references("Snapshot")) {
    const at = reference.text.lastIndexOf("/");
    const owner = vmText ?? (at < 0 ? undefined : reference.text.slice(0, at));
    const text = vmText === undefined && at >= 0 ? reference.text.slice(at + 1) : reference.text;
    if (owner === undefined && !isIdOf("snapshot", text)) {
      throw usageError(`whose snapshot is "${text}"?`, `Write VM/${text}, or name the VM with -VM.`);
    }
    const [vm] =
      owner === undefined ? [] : await select(api, "vm", [{ text: owner, literal: false }], { parameter: "-VM" });
    const wish = { parameter: "-Snapshot", ...given({ vmId: vm?.id }) };
    found.push(...(await select(api, "snapshot", [{ text, literal: reference.literal }], wish)));
  }
  return [...new Map(found.map((snapshot) => [snapshot.id, snapshot])).values()];
}
