/**
 * What can't be done with a VM because of a disk or device that it has: by table, so that every refusal comes before
 * anything is touched, names the device and says what to do. Such things come from VMs that others made. Facts: libvirt
 * 9.0 qemu_snapshot.c qemuSnapshotPrepare, qemu_migration.c qemuMigrationSrcIsAllowedHostdev; QEMU 7.2 block layer.
 */
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { isNamedAfter } from "./volume-name.ts";

/**
 * `freeze`: put an overlay on it (snapshot, clone of a running VM, linked clone). `copy`: read it as a volume (clone).
 * `grow`: make it larger. `delete`: delete its volume with the VM.
 */
export type DiskAct = "freeze" | "copy" | "grow" | "delete";

interface DiskRule {
  /** What the disk is, as after "is". */
  readonly what: string;
  readonly is: (disk: VmDisk) => boolean;
  readonly refuses: readonly DiskAct[];
  readonly remedy: string;
}

const allActs: readonly DiskAct[] = ["freeze", "copy", "grow", "delete"];
/** Sources that are files or devices of the host, named by their path. */
const localTypes: readonly string[] = ["file", "block"];

const diskRules: readonly DiskRule[] = [
  {
    what: "a passed-through LUN, whose content is its storage array's",
    is: (disk) => disk.device === "lun",
    refuses: allActs,
    remedy: "Use the array's own snapshots and copies, or take the disk off the VM first.",
  },
  {
    what: "a disk of a pool's volume by name (type volume)",
    is: (disk) => disk.sourceType === "volume",
    refuses: allActs,
    remedy: "Let its XML name the volume by its path (virsh edit: type='file' or 'block').",
  },
  {
    what: "not a file or device of its host",
    is: (disk) => !localTypes.includes(disk.sourceType),
    refuses: allActs,
    remedy: "Use what serves it (its storage system) for that, or take the disk off the VM first.",
  },
  {
    what: "encrypted, and what it is decrypted with is known to its host alone",
    is: (disk) => disk.encryption !== undefined,
    refuses: ["freeze", "copy", "grow"],
    remedy: "Encrypt within the guest instead, or take the disk off the VM first.",
  },
  {
    what: "shared with other VMs, which would go on writing it",
    is: (disk) => disk.shareable === true,
    refuses: ["freeze", "grow", "delete"],
    remedy: "Take the disk off the VM first; the other VMs keep it.",
  },
  {
    what: "transient: what the guest writes is gone when it stops",
    is: (disk) => disk.transient === true,
    refuses: ["freeze", "grow"],
    remedy: "Shut the VM down and clone it, or take <transient/> off the disk (virsh edit).",
  },
];

/** Whether an operation on the VM's data is about the disk: media, and what is only read, stay as they are. */
export function isWritten(disk: VmDisk): boolean {
  return disk.device !== "cdrom" && disk.device !== "floppy" && disk.readOnly !== true;
}

/** Shared disks of a clone stay shared (as virt-clone has it), all others are copied. */
export function isCopied(disk: VmDisk): boolean {
  return isWritten(disk) && disk.shareable !== true;
}

function ruleAgainst(disk: VmDisk, act: DiskAct): DiskRule | undefined {
  return diskRules.find((rule) => rule.refuses.includes(act) && rule.is(disk));
}

/** Why a disk's volume stays when its VM is deleted; undefined: nothing about the disk itself says so. */
export function whyKept(vm: Pick<Vm, "id">, disk: VmDisk): string | undefined {
  if (disk.readOnly === true) return "the VM only reads it";
  const rule = ruleAgainst(disk, "delete");
  if (rule !== undefined) return `it is ${rule.what}`;
  return disk.source === undefined ? undefined : whyDeviceKept(vm, disk.source);
}

/** A logical volume that Innkeeper made for the VM is named after it; every other device is someone else's. */
export function whyDeviceKept(vm: Pick<Vm, "id">, path: string): string | undefined {
  if (!path.startsWith("/dev/") || isNamedAfter(vm, path)) return undefined;
  return "it is a block device that others made";
}

/** `what` completes "can't": be snapshotted, be cloned. */
export function refuseDisks(vm: Pick<Vm, "name">, disks: readonly VmDisk[], act: DiskAct, what: string): void {
  for (const disk of disks) {
    const rule = ruleAgainst(disk, act);
    if (rule === undefined) continue;
    const source = disk.source === undefined ? "" : ` (${disk.source})`;
    const message = `VM ${vm.name} can't ${what}: disk ${disk.target}${source} is ${rule.what}. Nothing was changed.`;
    throw new AppError("unsupported", message, { remedy: rule.remedy });
  }
}

/** Hardware whose state is not part of the guest's saved memory, by kind. */
const unsavable: Readonly<Record<string, string>> = {
  hostdev: "a device of its host, whose state can't be saved",
  filesystem: "a folder of its host, whose open files can't be saved",
  shmem: "memory shared with others, which can't be saved",
  launchSecurity: "encrypted memory, which its host can't read",
};

/** `what` completes "can't". */
export function refuseUnsavable(vm: Pick<Vm, "name" | "spec">, what: string): void {
  for (const { kind, detail } of vm.spec.otherHardware ?? []) {
    const why = Object.hasOwn(unsavable, kind) ? unsavable[kind] : undefined;
    if (why === undefined) continue;
    throw new AppError(
      "unsupported",
      `VM ${vm.name} can't ${what}: ${kind} ${detail} is ${why}. Nothing was changed.`,
      {
        field: "memory",
        remedy: "Leave the memory out, shut the VM down first, or take the device off it.",
      },
    );
  }
}
