/** Get-, New-, Set- and Remove-HardDisk. */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { usageError } from "#cli-error.ts";
import { given } from "#option/given.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { vmParameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { noPolicies, storageFormat, storageFormats } from "#powercli/cmdlet/vm-new.ts";
import { warnOfPending } from "#powercli/cmdlet/vm-show.ts";
import { devices, type DeviceWish } from "#powercli/device.ts";
import { capacityBytes } from "#powercli/hardware.ts";
import { hardDiskKind, hardDiskObject, hardDisks, type NumberedDevice } from "#powercli/object/device.ts";
import { datastoreOf, filePath, volumesAt } from "#powercli/storage.ts";
import { Wildcard } from "#powercli/wildcard.ts";

const wish: DeviceWish<VmDisk> = {
  parameter: "HardDisk",
  noun: "hard disk",
  of: hardDisks,
  key: ({ target }) => target,
};

async function show(run: CmdletRun, vm: Vm, disks: readonly NumberedDevice<VmDisk>[]): Promise<void> {
  const stored = await volumesAt(
    run.api,
    vm.hostId,
    disks.flatMap(({ device }) => device.source ?? []),
  );
  for (const disk of disks) run.write(hardDiskKind, hardDiskObject(vm, disk, stored.get(disk.device.source ?? "")));
}

export const getHardDisk: Cmdlet = {
  name: "Get-HardDisk",
  summary: "List the hard disks of VMs.",
  operations: ["vmList", "volumeList"],
  parameters: [vmParameter, { name: "Name", list: true, help: 'only these: "Hard disk 1"; with wildcards' }],
  refused: {
    Template: "name the template with -VM",
    Snapshot: "`inn snapshot show` lists the layers of a snapshot",
    Datastore: "`inn volume list` lists the volumes of pools",
    DatastorePath: "`inn volume list` lists the volumes of pools",
    DiskType: "all are virtual disks",
  },
  examples: ["Get-HardDisk -VM web", "Get-VM web | inn Get-HardDisk -Name 'Hard disk 1'"],
  run: async (run) => {
    const names = run.bound.texts("Name").map((text) => new Wildcard(text));
    for (const vm of await run.chosen("VM", "vm")) {
      const chosen = hardDisks(vm).filter(({ name }) => names.length === 0 || names.some((each) => each.matches(name)));
      await show(run, vm, chosen);
    }
  },
};

export const newHardDisk: Cmdlet = {
  name: "New-HardDisk",
  summary: "Give VMs another hard disk, live if they run.",
  operations: ["vmChange"],
  impact: "changes",
  parameters: [
    vmParameter,
    { name: "CapacityGB", type: "decimal", help: "its size in GB" },
    { name: "CapacityKB", type: "integer", help: "the same in KB" },
    { name: "Datastore", noun: "pool", help: "where to make it (default: the roomiest of the host)" },
    { name: "StorageFormat", words: storageFormats, help: "Thin (default), Thick or EagerZeroedThick" },
    { name: "ThinProvisioned", type: "switch", help: "the same as -StorageFormat Thin" },
    { name: "DiskPath", help: "a disk that exists: [datastore] name, or a path of the host" },
    { name: "Persistence", words: ["Persistent"], help: "Persistent: it keeps what is written" },
    { name: "DiskType", words: ["Flat"], help: "Flat: a virtual disk" },
  ],
  refused: {
    Controller: "the bus is chosen with `inn vm set --add-disk size=…,bus=…`",
    DeviceName: "raw devices are given to a VM as volumes of a pool",
    Split: "disks are one file",
    AdvancedOption: "it is for datastore clusters, which Innkeeper does not have yet",
    StoragePolicy: noPolicies,
    KeyProvider: "encryption of disks is set up on the host",
    VDisk: "name the disk with -DiskPath",
    Sharing: "disks are not shared between VMs",
  },
  examples: [
    "New-HardDisk -VM web -CapacityGB 40",
    "New-HardDisk web -CapacityGB 100 -Datastore fast -StorageFormat Thick",
  ],
  parameterOfField: {
    "disksAdd.path": "DiskPath",
    "disksAdd.pool": "Datastore",
    "disksAdd.capacityBytes": "CapacityGB",
  },
  run: async (run) => {
    const { api, bound } = run;
    const size = capacityBytes(bound);
    const file = bound.text("DiskPath");
    if ((size === undefined) === (file === undefined)) throw usageError("either -CapacityGB or -DiskPath is needed");
    const format = bound.text("StorageFormat") ?? "Thin";
    const form = storageFormat(format);
    if (bound.flag("ThinProvisioned") === true && format !== "Thin") {
      throw usageError(`-ThinProvisioned contradicts -StorageFormat ${format}`);
    }
    const datastore = bound.text("Datastore");
    const pool = datastore === undefined ? undefined : (await datastoreOf(api, datastore, "-Datastore")).name;
    const vms = await run.chosen("VM", "vm");
    await run.perform(
      vms.map((vm) => ({
        action: "Add hard disk",
        target: vm.name,
        start: async () => {
          const path = file === undefined ? undefined : await filePath(api, file, "-DiskPath", vm.hostId);
          const disk = { ...given({ path, capacityBytes: size, pool }), ...form };
          return await api.call("vmChange", { parameters: { vmId: vm.id }, body: { disksAdd: [disk] } });
        },
        done: async (task) => {
          warnOfPending(run, vm, task);
          const before = new Set(hardDisks(vm).map(({ device }) => device.target));
          const after = await api.call("vmGet", { parameters: { vmId: vm.id } });
          await show(
            run,
            after,
            hardDisks(after).filter(({ device }) => !before.has(device.target)),
          );
        },
      })),
    );
  },
};

export const setHardDisk: Cmdlet = {
  name: "Set-HardDisk",
  summary: "Grow hard disks, live if their VM runs.",
  operations: ["vmChange"],
  impact: "asks",
  parameters: [
    { ...vmParameter, name: "HardDisk", noun: undefined, help: "VM/Hard disk 1, VM/vda, or what Get-HardDisk prints" },
    { name: "CapacityGB", type: "decimal", help: "its new size in GB; disks only grow" },
    { name: "CapacityKB", type: "integer", help: "the same in KB" },
  ],
  refused: {
    Persistence: "disks keep what is written",
    Datastore: "disks move with their VM: Move-VM",
    StorageFormat: "it is chosen when the disk is made",
    Controller: "the bus is chosen when the disk is made",
    Inflate: "it is chosen when the disk is made: -StorageFormat Thick",
    ZeroOut: "it is chosen when the disk is made: -StorageFormat EagerZeroedThick",
    ResizeGuestPartition: "the guest grows its partition itself (growpart)",
    StoragePolicy: noPolicies,
  },
  examples: ["Get-HardDisk -VM web -Name 'Hard disk 1' | inn Set-HardDisk -CapacityGB 80 -Confirm:$false"],
  parameterOfField: { disksChange: "CapacityGB" },
  run: async (run) => {
    const size = capacityBytes(run.bound);
    if (size === undefined) throw usageError("nothing to change", "Say how large: -CapacityGB 80.");
    const disks = await devices(run, wish);
    await run.perform(
      disks.map(({ vm, name, device: { target } }) => ({
        action: "Set hard disk",
        target: `${vm.name}/${name}`,
        start: async () => {
          const body = { disksChange: [{ target, capacityBytes: size }] };
          return await run.api.call("vmChange", { parameters: { vmId: vm.id }, body });
        },
        done: async (task) => {
          warnOfPending(run, vm, task);
          const after = await run.api.call("vmGet", { parameters: { vmId: vm.id } });
          await show(
            run,
            after,
            hardDisks(after).filter(({ device }) => device.target === target),
          );
        },
      })),
    );
  },
};

export const removeHardDisk: Cmdlet = {
  name: "Remove-HardDisk",
  summary: "Take hard disks away from their VM; the file stays, unless -DeletePermanently.",
  operations: ["vmChange"],
  impact: "asks",
  parameters: [
    { ...vmParameter, name: "HardDisk", noun: undefined, help: "VM/Hard disk 2, VM/vdb, or what Get-HardDisk prints" },
    { name: "DeletePermanently", type: "switch", help: "the file too" },
  ],
  examples: ["Remove-HardDisk 'web/Hard disk 2' -DeletePermanently -Confirm:$false"],
  parameterOfField: { disksRemove: "HardDisk" },
  run: async (run) => {
    const deleteVolume = run.bound.flag("DeletePermanently");
    const disks = await devices(run, wish);
    await run.perform(
      disks.map(({ vm, name, device: { target } }) => ({
        action: deleteVolume === true ? "Remove hard disk and delete its file" : "Remove hard disk",
        target: `${vm.name}/${name}`,
        start: async () => {
          const body = { disksRemove: [{ target, ...given({ deleteVolume }) }] };
          return await run.api.call("vmChange", { parameters: { vmId: vm.id }, body });
        },
        done: async (task) => warnOfPending(run, vm, task),
      })),
    );
  },
};
