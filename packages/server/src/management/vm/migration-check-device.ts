/** Checks of a migration: devices that are tied to their host, and secrets that it keeps. */
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import type { TiedDevice } from "#virtualization/migration/port.ts";
import type { MigrationFacts } from "./migration-fact.ts";
import { refused, warned } from "./migration-finding.ts";

interface DeviceRow {
  /** After "Device X ". */
  readonly live: string | undefined;
  readonly cold: string | undefined;
  readonly remedy: string;
  /** `warning`: also of one that runs. `error`: also of one that is off, which would harm what it finds. */
  readonly severity?: "warning" | "error";
}

const detach = "Take the device away from the VM, move it, and add one of the target.";
/** What each kind of tied device means for a guest that runs, and for one that is off (then its start is what fails). */
const deviceRows: Readonly<Record<TiedDevice["kind"], DeviceRow>> = {
  "host-device": {
    live: "is passed through from its host and stays there",
    cold: "is passed through from its host: the target may have another device there, or none",
    remedy: detach,
  },
  "failover-device": {
    live: "is passed through from its host; libvirt unplugs it and the guest goes on over its virtio partner",
    cold: "is passed through from its host: the target needs a device at the same address",
    remedy: "See to it that the target has such a device.",
    severity: "warning",
  },
  vdpa: { live: "is a vDPA device of its host", cold: "is a vDPA device of its host", remedy: detach },
  "vhost-user": {
    live: "is served by a program of its host through a socket (vhost-user)",
    cold: "is served by a program of its host through a socket (vhost-user)",
    remedy: "See to it that the same program serves the same socket on the target.",
    severity: "warning",
  },
  virtiofs: {
    live: "is a folder of its host (virtiofs), which libvirt does not migrate",
    cold: "is a folder of its host (virtiofs): the target must have the same one",
    remedy: "Unmount it in the guest and take it away, or move the VM while it is off and share the folder by NFS.",
  },
  folder: {
    live: "is a folder of its host (9p): while the guest has it mounted, QEMU does not migrate",
    cold: "is a folder of its host (9p): the target must have the same one",
    remedy: "Unmount it in the guest first; the target must have the same folder.",
    severity: "warning",
  },
  "shared-memory": {
    live: "is memory that the VM shares with others on its host",
    cold: undefined,
    remedy: "Take the device away, or make the VM its owner (role master).",
  },
  "persistent-memory": {
    live: "is persistent memory in a file of its host",
    cold: "is persistent memory in a file of its host, which does not go along",
    remedy: "Put the file on storage that both hosts share, or take the device away.",
    severity: "warning",
  },
  "encrypted-memory": {
    live: "means memory that its host can't read, and so can't send",
    cold: undefined,
    remedy: "Power the VM off and move it then.",
  },
  "character-device": {
    live: "is a device file of its host",
    cold: "is a device file of its host: the target must have one of that name",
    remedy: "See to it that the target has it, or take the device away.",
    severity: "warning",
  },
  lun: {
    live: "is a whole SCSI device: the target must have the same one under the same path",
    cold: "is a whole SCSI device: the target must have the same one under the same path",
    remedy: "Check on the target that the path leads to the same LUN (lsscsi -i).",
    severity: "warning",
  },
  "transient-disk": {
    live: "is transient: what the guest wrote to it is kept apart on its host",
    cold: undefined,
    remedy: "Power the VM off and move it then.",
  },
  "nvme-disk": {
    live: "is an NVMe device of its host, and its content stays there: the target's at the same PCI address would be written to",
    cold: "is an NVMe device of its host, and its content stays there: the target's at the same PCI address would be written to",
    remedy: "Take the disk away from the VM, move it, and give it a disk of the target.",
    severity: "error",
  },
  "host-disk": {
    live: "is served by its host alone, through a socket or a vDPA device: behind the same path the target has another one's content",
    cold: "is served by its host alone, through a socket or a vDPA device: behind the same path the target has another one's content",
    remedy: "Take the disk away from the VM, move it, and add it as the target serves it.",
    severity: "error",
  },
  "invariant-tsc": {
    live: "has feature invtsc, with which QEMU does not migrate",
    cold: undefined,
    remedy: "Give the guest's TSC a fixed frequency (<timer name='tsc' frequency=…/>), or take invtsc away.",
  },
};

export function checkDevice({ live, traits }: MigrationFacts): MigrationFinding[] {
  return (traits?.devices ?? []).flatMap(({ kind, device }): MigrationFinding[] => {
    const row = deviceRows[kind];
    const what = live ? row.live : row.cold;
    if (what === undefined) return [];
    const message = `Device ${device} ${what}.`;
    // One that is off does not fail to move, but it may fail to start.
    const isWarning = row.severity === "warning" || (!live && row.severity !== "error");
    return [
      isWarning
        ? warned("device", message, row.remedy, { device })
        : refused("device", "unsupported", message, row.remedy, { device }),
    ];
  });
}

export function checkSecret({ target, traits, reception }: MigrationFacts): MigrationFinding[] {
  const there = reception?.secrets;
  if (there === undefined) return [];
  return (traits?.secrets ?? []).flatMap(({ device, uuid, usageType, usageId }) => {
    const found = there.find((secret) =>
      uuid === undefined ? secret.usageType === usageType && secret.usageId === usageId : secret.uuid === uuid,
    );
    const name = uuid ?? `${usageType} ${usageId}`;
    if (found !== undefined) {
      // Secrets are not read: the target's libvirt looks for itself when it examines the definition.
      const problem = reception?.definitionProblem ?? "";
      if (!problem.includes(found.uuid) || !problem.includes("does not have a value")) return [];
      const valueless = `Host ${target.name} has the secret ${name}, which ${device} needs, without its value.`;
      const set = `Set it there (virsh secret-set-value on ${target.name}).`;
      return [refused("secret", "not_found", valueless, set, { device })];
    }
    const message = `Host ${target.name} does not have the secret ${name}, which ${device} needs.`;
    const remedy = `Define it there with its value (virsh secret-dumpxml on the source; virsh secret-define, secret-set-value on ${target.name}).`;
    return [refused("secret", "not_found", message, remedy, { device })];
  });
}
