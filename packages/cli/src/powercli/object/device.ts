/**
 * A VM's hard disks, CD drives and network adapters as PowerCLI shows them: numbered in their order, with an Id that names
 * the VM and the device (`vm-…/vda`, `vm-…/52:54:00:…`), so that they can be piped. Facts: HardDisk, CDDrive and
 * NetworkAdapter of VMware.VimAutomation.ViCore.Types.V1.VirtualDevice, PowerCLI's tables of them.
 */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk, VmNic } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { bytesPerKiB } from "@innkeeper/contract/unit.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { figure, gbOfBytes } from "#powercli/object/unit.ts";

interface DeviceObject {
  readonly Name: string;
  readonly Id: string;
  /** The VM's name. */
  readonly Parent: string;
  readonly ParentId: string;
}

interface HardDiskObject extends DeviceObject {
  /** null: its volume is in no storage pool that Innkeeper knows. */
  readonly CapacityGB: number | null;
  readonly CapacityKB: number | null;
  readonly StorageFormat: "Thin" | "Thick" | null;
  readonly Persistence: "Persistent" | "IndependentNonPersistent";
  readonly Filename: string | null;
  readonly Device: string;
  readonly Bus: string;
}

interface CdDriveObject extends DeviceObject {
  readonly IsoPath: string | null;
  readonly Device: string;
}

interface NetworkAdapterObject extends DeviceObject {
  readonly Type: string | null;
  readonly NetworkName: string | null;
  readonly MacAddress: string;
  readonly WakeOnLanEnabled: false;
  readonly ConnectionState: { readonly Connected: boolean; readonly StartConnected: boolean };
}

export interface NumberedDevice<Device> {
  readonly name: string;
  readonly device: Device;
}

export function hardDisks(vm: Vm): NumberedDevice<VmDisk>[] {
  return numbered(
    "Hard disk",
    vm.spec.disks.filter(({ device }) => device !== "cdrom" && device !== "floppy"),
  );
}

export function cdDrives(vm: Vm): NumberedDevice<VmDisk>[] {
  return numbered(
    "CD/DVD drive",
    vm.spec.disks.filter(({ device }) => device === "cdrom"),
  );
}

export function networkAdapters(vm: Vm): NumberedDevice<VmNic>[] {
  return numbered("Network adapter", vm.spec.nics);
}

function numbered<Device>(noun: string, devices: readonly Device[]): NumberedDevice<Device>[] {
  return devices.map((device, index) => ({ name: `${noun} ${index + 1}`, device }));
}

/** A volume as vSphere writes its place: `[pool] name`. */
function storagePath(pool: Pick<StoragePool, "name">, volume: Pick<Volume, "name">): string {
  return `[${pool.name}] ${volume.name}`;
}

export function hardDiskObject(
  vm: Vm,
  { name, device }: NumberedDevice<VmDisk>,
  stored: { readonly volume: Volume; readonly pool: StoragePool } | undefined,
): HardDiskObject {
  const { volume } = stored ?? {};
  const isThick = volume?.format === "raw" && volume.allocationBytes >= volume.capacityBytes;
  return {
    Name: name,
    Id: `${vm.id}/${device.target}`,
    Parent: vm.name,
    ParentId: vm.id,
    CapacityGB: volume === undefined ? null : gbOfBytes(volume.capacityBytes),
    CapacityKB: volume === undefined ? null : Math.floor(volume.capacityBytes / bytesPerKiB),
    StorageFormat: volume === undefined ? null : isThick ? "Thick" : "Thin",
    Persistence: "Persistent",
    Filename: stored === undefined ? (device.source ?? null) : storagePath(stored.pool, stored.volume),
    Device: device.target,
    Bus: device.bus,
  };
}

export function cdDriveObject(vm: Vm, { name, device }: NumberedDevice<VmDisk>): CdDriveObject {
  return {
    Name: name,
    Id: `${vm.id}/${device.target}`,
    Parent: vm.name,
    ParentId: vm.id,
    IsoPath: device.source ?? null,
    Device: device.target,
  };
}

export function networkAdapterObject(vm: Vm, { name, device }: NumberedDevice<VmNic>): NetworkAdapterObject {
  const isUp = device.linkUp !== false;
  return {
    Name: name,
    Id: `${vm.id}/${device.mac}`,
    Parent: vm.name,
    ParentId: vm.id,
    Type: device.model ?? null,
    NetworkName: device.network ?? null,
    MacAddress: device.mac,
    WakeOnLanEnabled: false,
    ConnectionState: { Connected: isUp && vm.state === "running", StartConnected: isUp },
  };
}

export const hardDiskKind: ObjectKind<HardDiskObject> = {
  columns: [
    { name: "Name", value: (disk) => disk.Name, extra: true },
    { name: "CapacityGB", value: (disk) => figure(disk.CapacityGB), right: true },
    { name: "Persistence", value: (disk) => disk.Persistence },
    { name: "Filename", value: (disk) => disk.Filename ?? "" },
    { name: "Parent", value: (disk) => disk.Parent, extra: true },
    { name: "Id", value: (disk) => disk.Id, extra: true },
  ],
};

export const cdDriveKind: ObjectKind<CdDriveObject> = {
  columns: [
    { name: "Name", value: (drive) => drive.Name, extra: true },
    { name: "IsoPath", value: (drive) => drive.IsoPath ?? "" },
    { name: "Device", value: (drive) => drive.Device },
    { name: "Parent", value: (drive) => drive.Parent, extra: true },
    { name: "Id", value: (drive) => drive.Id, extra: true },
  ],
};

export const networkAdapterKind: ObjectKind<NetworkAdapterObject> = {
  columns: [
    { name: "Name", value: (adapter) => adapter.Name },
    { name: "Type", value: (adapter) => adapter.Type ?? "" },
    { name: "NetworkName", value: (adapter) => adapter.NetworkName ?? "" },
    { name: "MacAddress", value: (adapter) => adapter.MacAddress },
    { name: "WakeOnLanEnabled", value: () => "False" },
    { name: "Parent", value: (adapter) => adapter.Parent, extra: true },
    { name: "Id", value: (adapter) => adapter.Id, extra: true },
  ],
};
