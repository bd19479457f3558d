/** A snapshot as PowerCLI shows it. Facts: Snapshot of VMware.VimAutomation.ViCore.Types.V1.VM, PowerCLI's table of it. */
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { ObjectKind } from "#powercli/object-writer.ts";
import { type PowerState, powerState } from "#powercli/object/vm.ts";

interface SnapshotObject {
  readonly Name: string;
  readonly Id: string;
  readonly Description: string;
  readonly Created: string;
  /** To which a revert leads; unlike vSphere's, a VM that ran is started, without its memory if the snapshot has none. */
  readonly PowerState: PowerState;
  readonly Quiesced: boolean;
  readonly WithMemory: boolean;
  readonly IsCurrent: boolean;
  readonly VM: string;
  readonly VMId: string;
  readonly ParentSnapshotId: string | null;
}

export function snapshotObject(snapshot: Snapshot, vmName: string): SnapshotObject {
  return {
    Name: snapshot.name,
    Id: snapshot.id,
    Description: snapshot.description,
    Created: snapshot.createdAt,
    PowerState: powerState(snapshot.vmState),
    Quiesced: snapshot.quiesced,
    WithMemory: snapshot.withMemory,
    IsCurrent: snapshot.current,
    VM: vmName,
    VMId: snapshot.vmId,
    ParentSnapshotId: snapshot.parentId,
  };
}

export const snapshotKind: ObjectKind<SnapshotObject> = {
  columns: [
    { name: "Name", value: (snapshot) => snapshot.Name },
    { name: "Description", value: (snapshot) => snapshot.Description },
    { name: "PowerState", value: (snapshot) => snapshot.PowerState },
    { name: "VM", value: (snapshot) => snapshot.VM, extra: true },
    { name: "Created", value: (snapshot) => snapshot.Created, extra: true },
    { name: "IsCurrent", value: (snapshot) => (snapshot.IsCurrent ? "True" : "False"), extra: true },
    { name: "Id", value: (snapshot) => snapshot.Id, extra: true },
  ],
};
