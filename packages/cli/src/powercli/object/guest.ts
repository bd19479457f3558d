/** What is known of a guest, as PowerCLI shows it. Facts: VMGuest of VMware.VimAutomation.ViCore.Types.V1.VM.Guest. */
import type { Vm, VmGuest } from "@innkeeper/contract/resource/vm.ts";
import { gbOfBytes } from "#powercli/object/unit.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { addressesOf } from "#page/vm.ts";

interface GuestObject {
  readonly Name: string;
  readonly Id: string;
  readonly VmName: string;
  readonly VmId: string;
  /** Running: the guest agent answers. */
  readonly State: "Running" | "NotRunning";
  readonly IPAddress: readonly string[];
  readonly OSFullName: string | null;
  readonly HostName: string | null;
  readonly Disks: readonly {
    readonly Path: string;
    readonly CapacityGB: number | null;
    readonly FreeSpaceGB: number | null;
  }[];
}

function gbIfKnown(bytes: number | undefined): number | null {
  return bytes === undefined ? null : gbOfBytes(bytes);
}

export function guestObject(vm: Vm, guest: VmGuest | undefined): GuestObject {
  return {
    Name: vm.name,
    Id: vm.id,
    VmName: vm.name,
    VmId: vm.id,
    State: guest === undefined ? "NotRunning" : "Running",
    IPAddress: addressesOf(vm),
    OSFullName: guest === undefined ? null : (guest.osName ?? guest.osId ?? null),
    HostName: guest?.hostname ?? null,
    Disks: (guest?.fileSystems ?? []).map(({ mountPoint, totalBytes, usedBytes }) => ({
      Path: mountPoint,
      CapacityGB: gbIfKnown(totalBytes),
      FreeSpaceGB: totalBytes === undefined || usedBytes === undefined ? null : gbOfBytes(totalBytes - usedBytes),
    })),
  };
}

export const guestKind: ObjectKind<GuestObject> = {
  columns: [
    { name: "State", value: (guest) => guest.State },
    { name: "IPAddress", value: (guest) => guest.IPAddress.join(", ") },
    { name: "OSFullName", value: (guest) => guest.OSFullName ?? "" },
    { name: "VmName", value: (guest) => guest.VmName, extra: true },
    { name: "HostName", value: (guest) => guest.HostName ?? "", extra: true },
  ],
};
