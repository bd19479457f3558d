/**
 * A snapshot of a VM: a frozen layer per disk, optionally the guest's memory, and the configuration of that moment.
 * Snapshots form a tree; `current` is the one that the VM's present disks grew from.
 */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { baseFields, Description, strict, Time } from "./base.ts";

export const SnapshotDisk = Type.Object({
  target: Type.String({ description: "vda" }),
  path: Type.String({ description: "the frozen layer" }),
  format: Type.String(),
});

export const Snapshot = Type.Object({
  ...baseFields("snapshot"),
  vmId: IdOf("vm"),
  name: Type.String(),
  description: Type.String(),
  source: Type.Optional(
    Type.Literal("libvirt", {
      description: "in libvirt's own keeping, made by virsh or virt-manager; absent: Innkeeper's",
    }),
  ),
  external: Type.Optional(
    Type.Boolean({ description: "of libvirt's: in files beside the disks; false: within the disks' own files" }),
  ),
  parentId: Type.Union([IdOf("snapshot"), Type.Null()]),
  current: Type.Boolean(),
  withMemory: Type.Boolean(),
  quiesced: Type.Boolean({ description: "the guest agent froze the file systems" }),
  vmState: Type.Unsafe<"running" | "paused" | "shutoff">({ type: "string", enum: ["running", "paused", "shutoff"] }),
  disks: Type.Array(SnapshotDisk),
  memoryPath: Type.Optional(Type.String()),
  createdAt: Time,
});
export type Snapshot = Static<typeof Snapshot>;

export const SnapshotCreate = Type.Object(
  {
    name: Name,
    description: Type.Optional(Description),
    memory: Type.Optional(Type.Boolean({ description: "with the guest's memory; default false" })),
    quiesce: Type.Optional(Type.Boolean({ description: "freeze file systems through the guest agent; default false" })),
  },
  strict,
);
export type SnapshotCreate = Static<typeof SnapshotCreate>;
