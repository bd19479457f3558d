/** Get-CDDrive and Set-CDDrive. */
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { usageError } from "#cli-error.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { vmParameter } from "#powercli/signature.ts";
import { warnOfPending } from "#powercli/cmdlet/vm-show.ts";
import { devices, type DeviceWish } from "#powercli/device.ts";
import { cdDriveKind, cdDriveObject, cdDrives } from "#powercli/object/device.ts";
import { filePath } from "#powercli/storage.ts";

const wish: DeviceWish<VmDisk> = { parameter: "CD", noun: "CD drive", of: cdDrives, key: ({ target }) => target };

export const getCdDrive: Cmdlet = {
  name: "Get-CDDrive",
  summary: "List the CD drives of VMs.",
  operations: ["vmList"],
  parameters: [vmParameter],
  refused: {
    Template: "name the template with -VM",
    Snapshot: "a snapshot has no drives of its own",
    Name: "name the VM",
  },
  examples: ["Get-CDDrive -VM web"],
  run: async (run) => {
    for (const vm of await run.chosen("VM", "vm")) {
      for (const drive of cdDrives(vm)) run.write(cdDriveKind, cdDriveObject(vm, drive));
    }
  },
};

export const setCdDrive: Cmdlet = {
  name: "Set-CDDrive",
  summary: "Put a medium into CD drives, or eject it.",
  operations: ["vmChange"],
  impact: "asks",
  parameters: [
    { ...vmParameter, name: "CD", noun: undefined, help: "VM/CD/DVD drive 1, VM/sda, or what Get-CDDrive prints" },
    { name: "IsoPath", help: "[datastore] name, or a path of the host" },
    { name: "NoMedia", type: "switch", help: "eject" },
    { name: "Connected", type: "boolean", help: "$true with -IsoPath; a drive with a medium is connected" },
    { name: "StartConnected", type: "boolean", help: "the same" },
  ],
  refused: { HostDevice: "a drive of the host is given to a VM with virsh" },
  examples: ["Get-CDDrive -VM web | inn Set-CDDrive -IsoPath '[default] debian-12.iso' -Confirm:$false"],
  parameterOfField: { "disksChange.source": "IsoPath", disksChange: "CD" },
  run: async (run) => {
    const { api, bound } = run;
    const iso = bound.text("IsoPath");
    const eject = bound.flag("NoMedia") === true || (iso === undefined && bound.flag("Connected") === false);
    if (eject === (iso !== undefined)) throw usageError("either -IsoPath or -NoMedia is needed");
    if (iso !== undefined && (bound.flag("Connected") === false || bound.flag("StartConnected") === false)) {
      throw usageError("a drive with a medium is connected", "Leave -Connected away, or eject with -NoMedia.");
    }
    const drives = await devices(run, wish);
    await run.perform(
      drives.map(({ vm, name, device: { target } }) => ({
        action: eject ? "Eject medium" : "Insert medium",
        target: `${vm.name}/${name}`,
        start: async () => {
          const source = iso === undefined ? null : await filePath(api, iso, "-IsoPath", vm.hostId);
          const body = { disksChange: [{ target, source }] };
          return await api.call("vmChange", { parameters: { vmId: vm.id }, body });
        },
        done: async (task) => {
          warnOfPending(run, vm, task);
          const after = await api.call("vmGet", { parameters: { vmId: vm.id } });
          for (const drive of cdDrives(after)) {
            if (drive.device.target === target) run.write(cdDriveKind, cdDriveObject(after, drive));
          }
        },
      })),
    );
  },
};
