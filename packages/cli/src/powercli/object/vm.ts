/** A VM as PowerCLI shows it. Facts: VirtualMachine of VMware.VimAutomation.ViCore.Types.V1.Inventory, PowerCLI's table of it. */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { bytesPerKiB } from "@innkeeper/contract/unit.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { figure, gbOfMiB } from "#powercli/object/unit.ts";
import { addressesOf } from "#page/vm.ts";

/** vSphere's three; Unknown where the host can't be asked, of which vSphere shows the last state. */
export type PowerState = "PoweredOn" | "PoweredOff" | "Suspended" | "Unknown";

const powerStateOf: Readonly<Record<Vm["state"], PowerState>> = {
  running: "PoweredOn",
  blocked: "PoweredOn",
  "shutting-down": "PoweredOn",
  paused: "Suspended",
  pmsuspended: "Suspended",
  shutoff: "PoweredOff",
  crashed: "PoweredOff",
  unknown: "Unknown",
};

export function powerState(state: Vm["state"]): PowerState {
  return powerStateOf[state];
}

interface VmObject {
  readonly Name: string;
  readonly Id: string;
  readonly PersistentId: string;
  readonly PowerState: PowerState;
  readonly NumCpu: number;
  readonly CoresPerSocket: number;
  readonly MemoryGB: number;
  readonly MemoryMB: number;
  readonly VMHost: string;
  readonly VMHostId: string;
  readonly ResourcePool: string;
  readonly Folder: string;
  readonly Notes: string;
  readonly Tags: readonly string[];
  readonly HardwareVersion: string | null;
  readonly CreateDate: string;
  readonly Guest: { readonly State: "Running" | "NotRunning"; readonly IPAddress: readonly string[] };
}

/** vSphere's names of the root pool, which is the only one, and of the folder of VMs that are in none. */
export const rootPool = "Resources";
export const rootFolder = "vm";

export function vmObject(vm: Vm, hostName: (id: string) => string): VmObject {
  const { cpu, memory, machine } = vm.spec;
  return {
    Name: vm.name,
    Id: vm.id,
    PersistentId: vm.uuid,
    PowerState: powerState(vm.state),
    NumCpu: cpu.count,
    CoresPerSocket: cpu.topology?.cores ?? 1,
    MemoryGB: gbOfMiB(memory.sizeMiB),
    MemoryMB: Math.round(memory.sizeMiB * bytesPerKiB) / bytesPerKiB,
    VMHost: hostName(vm.hostId),
    VMHostId: vm.hostId,
    ResourcePool: rootPool,
    Folder: vm.folder ?? rootFolder,
    Notes: vm.description,
    Tags: vm.tags,
    HardwareVersion: machine ?? null,
    CreateDate: vm.createdAt,
    Guest: { State: vm.guestAgentConnected ? "Running" : "NotRunning", IPAddress: addressesOf(vm) },
  };
}

export const vmKind: ObjectKind<VmObject> = {
  columns: [
    { name: "Name", value: (vm) => vm.Name },
    { name: "PowerState", value: (vm) => vm.PowerState },
    { name: "Num CPUs", value: (vm) => String(vm.NumCpu), right: true },
    { name: "MemoryGB", value: (vm) => figure(vm.MemoryGB), right: true },
    { name: "VMHost", value: (vm) => vm.VMHost, extra: true },
    { name: "Folder", value: (vm) => vm.Folder, extra: true },
    { name: "IPAddress", value: (vm) => vm.Guest.IPAddress.join(", "), extra: true },
    { name: "Notes", value: (vm) => vm.Notes, extra: true },
    { name: "Id", value: (vm) => vm.Id, extra: true },
  ],
};

/** Templates are no VMs to PowerCLI; its table shows the name alone. */
export const templateKind: ObjectKind<VmObject> = {
  columns: [
    { name: "Name", value: (vm) => vm.Name },
    { name: "VMHost", value: (vm) => vm.VMHost, extra: true },
    { name: "Id", value: (vm) => vm.Id, extra: true },
  ],
};
