/** Set-VM, Set-Template, Remove-VM and Move-VM. */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm, VmChange } from "@innkeeper/contract/resource/vm.ts";
import { tableError, usageError } from "#cli-error.ts";
import { anyGiven, given } from "#option/given.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { runAsync, vmParameter } from "#powercli/signature.ts";
import type { CmdletRun, Work } from "#powercli/cmdlet-run.ts";
import { noPolicies, ofClusters, storageFormats } from "#powercli/cmdlet/vm-new.ts";
import { showVm, warnOfPending } from "#powercli/cmdlet/vm-show.ts";
import { cpuOf, fieldOfSize, memoryMiB, sizeParameters } from "#powercli/hardware.ts";
import { placeOf } from "#powercli/place.ts";
import { select } from "#powercli/select.ts";
import { datastoreOf } from "#powercli/storage.ts";

export const setVm: Cmdlet = {
  name: "Set-VM",
  summary: "Change VMs, rename one, bring it back to a snapshot, or make it a template.",
  operations: ["vmChange", "vmRename", "snapshotRevert"],
  impact: "asks",
  parameters: [
    vmParameter,
    { name: "Name", help: "its new name; the VM is off" },
    { name: "Notes", aliases: ["Description"], help: "its new description" },
    ...sizeParameters,
    { name: "Snapshot", noun: "snapshot", help: "bring it back to this snapshot, by name or id" },
    { name: "ToTemplate", type: "switch", help: "make it a template" },
    { name: "GuestId", help: "taken and not used: hardware does not depend on it" },
    { name: "AlternateGuestName", help: "as GuestId" },
    runAsync,
  ],
  refused: {
    OSCustomizationSpec: "prepare the guest with cloud-init in its image",
    Version: "the machine type is set with `inn vm set --machine`",
    HardwareVersion: "the machine type is set with `inn vm set --machine`",
    BootDelayMillisecond: "the order of boot devices is set with `inn vm set`",
    PromoteDisks: "a linked clone stays on its source's disks",
    DrsAutomationLevel: ofClusters,
    HAIsolationResponse: ofClusters,
    HARestartPriority: ofClusters,
    VMSwapfilePolicy: "swap is the host's own",
    StoragePolicy: noPolicies,
    SkipHardDisks: noPolicies,
    KeyProvider: "encryption of disks is set up on the host",
    DisableEncryption: "encryption of disks is set up on the host",
    MigrationEncryption: "migrations are encrypted when the host is reached by TLS",
    SEVEnabled: "confidential guests are defined with virsh",
    CpuHotAddEnabled: "say up to how many vCPUs: `inn vm set --vcpus-max`",
    CpuHotRemoveEnabled: "say up to how many vCPUs: `inn vm set --vcpus-max`",
    MemoryHotAddEnabled: "memory changes by its balloon: `inn vm set --balloon`",
  },
  examples: [
    "Set-VM -VM web -NumCpu 4 -MemoryGB 8 -Confirm:$false",
    'Set-VM web -Notes "front end" -Confirm:$false',
    "Set-VM -VM web -Snapshot before-upgrade -Confirm:$false",
    "Set-VM -VM golden -ToTemplate -Confirm:$false",
  ],
  details: "What a running guest can't take is changed at its next start; a warning names it.",
  parameterOfField: { ...fieldOfSize, name: "Name", description: "Notes", template: "ToTemplate" },
  run: async (run) => {
    const { bound } = run;
    const vms = await run.chosen("VM", "vm");
    if (bound.has("GuestId") || bound.has("AlternateGuestName")) {
      run.warn("-GuestId has no effect: Innkeeper's hardware fits all guests alike.");
    }
    if (bound.has("Name") && vms.length > 1) throw usageError(`-Name is for one VM; ${vms.length} are meant`);
    const hasChange = ["Notes", "NumCpu", "CoresPerSocket", "MemoryGB", "MemoryMB", "ToTemplate"].some((name) =>
      bound.has(name),
    );
    if (bound.has("Snapshot")) {
      if (hasChange || bound.has("Name")) throw usageError("-Snapshot stands alone: it brings all settings back");
      await revert(run, vms);
    } else if (hasChange || bound.has("Name")) await run.perform(vms.map((vm) => changeOf(run, vm)));
    else if (!bound.has("GuestId") && !bound.has("AlternateGuestName")) {
      throw usageError("nothing to change", "See `inn Set-VM -?`.");
    }
  },
};

function changeOf(run: CmdletRun, vm: Vm): Work {
  const { api, bound } = run;
  const sizeMiB = memoryMiB(bound);
  const body: VmChange = given({
    description: bound.text("Notes"),
    template: bound.flag("ToTemplate"),
    cpu: anyGiven(cpuOf(bound, vm.spec.cpu)),
    memory: sizeMiB === undefined ? undefined : { sizeMiB },
  });
  const name = bound.text("Name");
  const parameters = { vmId: vm.id };
  const rename = async (to: string): Promise<Task> => await api.call("vmRename", { parameters, body: { name: to } });
  return {
    action: "Reconfigure VM",
    target: vm.name,
    start: async () => {
      if (Object.keys(body).length === 0) return await rename(name ?? vm.name);
      const change = await api.call("vmChange", { parameters, body });
      if (name === undefined) return change;
      warnOfPending(run, vm, await run.finished(change));
      return await rename(name);
    },
    done: async (task) => {
      warnOfPending(run, vm, task);
      await showVm(run, vm.id);
    },
  };
}

async function revert(run: CmdletRun, vms: readonly Vm[]): Promise<void> {
  const { api, bound } = run;
  const works: Work[] = [];
  for (const vm of vms) {
    await run.attempt(async () => {
      const wish = { parameter: "-Snapshot", vmId: vm.id };
      const text = bound.text("Snapshot") ?? "";
      const [snapshot, ...others] = await select(api, "snapshot", [{ text, literal: false }], wish);
      if (snapshot === undefined || others.length > 0) throw usageError("-Snapshot means several snapshots");
      if (snapshot.vmId !== vm.id) {
        throw tableError("not_found", `snapshot ${snapshot.name} is none of ${vm.name}`, { field: "-Snapshot" });
      }
      works.push({
        action: `Revert to snapshot ${snapshot.name}`,
        target: vm.name,
        start: async () => await api.call("snapshotRevert", { parameters: { snapshotId: snapshot.id } }),
        done: async () => await showVm(run, vm.id),
      });
    });
  }
  await run.perform(works);
}

export const setTemplate: Cmdlet = {
  name: "Set-Template",
  summary: "Make a template a VM again.",
  operations: ["vmChange"],
  impact: "changes",
  parameters: [
    { ...vmParameter, name: "Template", help: "the templates" },
    { name: "ToVM", type: "switch", required: true, help: "make it a VM" },
    runAsync,
  ],
  refused: { Name: "rename it afterwards with Set-VM -Name" },
  examples: ["Set-Template -Template golden -ToVM"],
  run: async (run) => {
    const vms = await run.chosen("Template", "vm");
    await run.perform(
      vms.map((vm) => ({
        action: "Convert template to VM",
        target: vm.name,
        start: async () => await run.api.call("vmChange", { parameters: { vmId: vm.id }, body: { template: false } }),
        done: async () => await showVm(run, vm.id),
      })),
    );
  },
};

export const removeVm: Cmdlet = {
  name: "Remove-VM",
  summary: "Remove VMs from their hosts; their disks stay, unless -DeletePermanently.",
  operations: ["vmDelete"],
  impact: "asks",
  parameters: [
    vmParameter,
    {
      name: "DeletePermanently",
      aliases: ["DeleteFromDisk"],
      type: "switch",
      help: "their disks, firmware variables, TPM state and saved memory, too",
    },
    runAsync,
  ],
  examples: ["Remove-VM -VM test1 -DeletePermanently -Confirm:$false", "Get-VM test* | inn Remove-VM -Confirm:$false"],
  run: async (run) => {
    const deleteDisks = run.bound.flag("DeletePermanently");
    const vms = await run.chosen("VM", "vm");
    await run.perform(
      vms.map((vm) => ({
        action: deleteDisks === true ? "Remove VM and delete its disks" : "Remove VM",
        target: vm.name,
        start: async () =>
          await run.api.call("vmDelete", { parameters: { vmId: vm.id }, query: given({ deleteDisks }) }),
      })),
    );
  },
};

export const moveVm: Cmdlet = {
  name: "Move-VM",
  summary: "Move VMs to another host: live if they run, cold if they do not.",
  operations: ["vmMigrate"],
  impact: "changes",
  parameters: [
    vmParameter,
    { name: "Destination", position: 1, required: true, noun: "host", help: "the host" },
    {
      name: "Datastore",
      noun: "pool",
      help: "its disks move too, into the pool of the same name on the destination",
    },
    { name: "VMotionPriority", words: ["Standard", "High"], help: "taken and not used: all moves are alike" },
    runAsync,
  ],
  refused: {
    DiskStorageFormat: `disks keep their format (${storageFormats.join(", ")} is chosen when they are made)`,
    InventoryLocation: "`inn vm set --folder` puts a VM into a folder",
    Network: "networks keep their names on the destination",
    NetworkAdapter: "networks keep their names on the destination",
    PortGroup: "networks keep their names on the destination",
    AdvancedOption: "it is for datastore clusters, which Innkeeper does not have yet",
    StoragePolicy: noPolicies,
    DestinationSslThumbprint: "hosts are trusted when they are added",
  },
  examples: ["Move-VM -VM web -Destination kvm2", "Get-VM -Location kvm1 | inn Move-VM kvm2"],
  parameterOfField: { host: "Destination", copyDisks: "Datastore" },
  run: async (run) => {
    const { api, bound } = run;
    if (bound.has("VMotionPriority")) run.warn("-VMotionPriority has no effect: all moves have the same priority.");
    const text = bound.text("Destination") ?? "";
    const host = await placeOf(api, { text, literal: false }, "-Destination", ["host"]);
    if (host === undefined) throw usageError(`-Destination ${text} is no host`, "`inn Get-VMHost` lists them.");
    const datastore = bound.text("Datastore");
    const stored = datastore === undefined ? undefined : await datastoreOf(api, datastore, "-Datastore");
    const vms = await run.chosen("VM", "vm");
    await run.perform(
      vms.map((vm) => ({
        action: `Move VM to ${host.name}`,
        target: vm.name,
        start: async () => {
          if (stored !== undefined) await requireSameDatastore(run, vm, stored.name);
          const body = { host: host.id, ...given({ copyDisks: stored === undefined ? undefined : true }) };
          return await api.call("vmMigrate", { parameters: { vmId: vm.id }, body });
        },
        done: async () => await showVm(run, vm.id),
      })),
    );
  },
};

/** Copies go into the pool of the same name: any other would not be what was asked for. */
async function requireSameDatastore({ api }: CmdletRun, vm: Vm, datastore: string): Promise<void> {
  const { volumesAt } = await import("#powercli/storage.ts");
  const paths = vm.spec.disks.flatMap(({ source }) => source ?? []);
  for (const { pool } of (await volumesAt(api, vm.hostId, paths)).values()) {
    if (pool.name === datastore) continue;
    throw tableError("unsupported", `${vm.name} has a disk in ${pool.name}, which can't be moved to ${datastore}`, {
      field: "-Datastore",
      remedy: `Disks move into the pool of the same name on the destination: -Datastore ${pool.name}.`,
    });
  }
}
