/** A virtual machine: a libvirt domain and what Innkeeper knows about it. */
import { Type, type Static } from "typebox";
import { Folder } from "../folder.ts";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { type VmState, vmStates } from "../state/vm.ts";
import { baseFields, Description, strict, Tag, Time } from "./base.ts";
import {
  IoLimit,
  MacAddress,
  TargetDevice,
  VmCpuChange,
  vmCreateHardware,
  VmDiskCreate,
  vmHardwareFields,
  VmMemory,
  VmNicCreate,
  VmSpec,
} from "./vm-spec.ts";
import { vmCreateDocument } from "./vm-document.ts";

export const GuestAddress = Type.Object({
  mac: Type.Optional(Type.String()),
  address: Type.String(),
  prefixLength: Type.Optional(Type.Integer()),
  source: Type.Unsafe<"agent" | "lease" | "arp">({ type: "string", enum: ["agent", "lease", "arp"] }),
});
export type GuestAddress = Static<typeof GuestAddress>;

export const Vm = Type.Object({
  ...baseFields("vm"),
  uuid: Type.String({ description: "libvirt's UUID of the domain" }),
  name: Type.String(),
  hostId: IdOf("host"),
  state: Type.Unsafe<VmState>({ type: "string", enum: vmStates }),
  stateDetail: Type.String({ description: "libvirt's reason: booted, migrated, shutdown, crashed …" }),
  description: Description,
  tags: Type.Array(Tag),
  folder: Type.Optional(Type.String({ description: "a path such as Production/Web; absent: in none" })),
  template: Type.Boolean(),
  persistent: Type.Boolean({ description: "false: gone when it stops, as virsh create makes it" }),
  managed: Type.Boolean({
    description: "made or changed through Innkeeper; false: found on its host and left untouched",
  }),
  spec: VmSpec,
  pendingChanges: Type.Array(Type.String({ description: "dotted path of a field that changes at the next start" })),
  addresses: Type.Array(GuestAddress),
  guestAgentConnected: Type.Boolean(),
  currentSnapshotId: Type.Union([IdOf("snapshot"), Type.Null()]),
  foreignSnapshotCount: Type.Integer({ minimum: 0, description: "snapshots that virsh or others keep in libvirt" }),
  createdAt: Time,
  startedAt: Type.Optional(Time),
});
export type Vm = Static<typeof Vm>;

export const VmCreate = Type.Object(
  {
    name: Name,
    host: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: "name or id; default: the host with the most free memory that fits",
      }),
    ),
    cluster: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "name or id: only hosts of this cluster" }),
    ),
    description: Type.Optional(Description),
    tags: Type.Optional(Type.Array(Tag, { maxItems: 100 })),
    folder: Type.Optional(Folder),
    start: Type.Optional(Type.Boolean({ description: "start it once it is made; default false" })),
    ...vmCreateHardware,
    ...vmCreateDocument,
  },
  strict,
);
export type VmCreate = Static<typeof VmCreate>;

/** What is given is changed, what is absent stays; live where the hypervisor can, else at the next start (see pendingChanges). */
export const VmChange = Type.Object(
  {
    description: Type.Optional(Description),
    tags: Type.Optional(Type.Array(Tag, { maxItems: 100 })),
    folder: Type.Optional(Type.Union([Folder, Type.Null({ description: "null: in none" })])),
    template: Type.Optional(Type.Boolean()),
    cpu: Type.Optional(VmCpuChange),
    memory: Type.Optional(Type.Partial(VmMemory)),
    disksAdd: Type.Optional(Type.Array(VmDiskCreate, { maxItems: 64 })),
    disksRemove: Type.Optional(
      Type.Array(Type.Object({ target: TargetDevice, deleteVolume: Type.Optional(Type.Boolean()) }, strict), {
        maxItems: 64,
      }),
    ),
    disksChange: Type.Optional(
      Type.Array(
        Type.Object(
          {
            target: TargetDevice,
            capacityBytes: Type.Optional(Type.Integer({ minimum: 1, description: "disks only grow" })),
            ioLimit: Type.Optional(IoLimit),
            bootOrder: Type.Optional(Type.Integer({ minimum: 1, maximum: 255 })),
            source: Type.Optional(
              Type.Union([Type.String({ pattern: "^/", maxLength: 4096 }), Type.Null()], {
                description: "CD-ROM: the medium; null ejects",
              }),
            ),
          },
          strict,
        ),
        { maxItems: 64 },
      ),
    ),
    nicsAdd: Type.Optional(Type.Array(VmNicCreate, { maxItems: 64 })),
    nicsRemove: Type.Optional(Type.Array(Type.Object({ mac: MacAddress }, strict), { maxItems: 64 })),
    nicsChange: Type.Optional(
      Type.Array(
        Type.Object(
          {
            mac: MacAddress,
            linkUp: Type.Optional(Type.Boolean()),
            network: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
          },
          strict,
        ),
        { maxItems: 64 },
      ),
    ),
    ...vmHardwareFields,
  },
  { ...strict, minProperties: 1 },
);
export type VmChange = Static<typeof VmChange>;

export const VmRename = Type.Object({ name: Name }, strict);

export const VmClone = Type.Object(
  {
    name: Name,
    linked: Type.Optional(
      Type.Boolean({ description: "overlays on the source's disks instead of copies; default false" }),
    ),
    snapshot: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: "name or id of the snapshot to clone; default: its present state",
      }),
    ),
    pool: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    description: Type.Optional(Description),
    folder: Type.Optional({ ...Folder, description: "default: the source's" }),
    start: Type.Optional(Type.Boolean()),
  },
  strict,
);
export type VmClone = Static<typeof VmClone>;

export const VmMigrate = Type.Object(
  {
    host: Type.String({ minLength: 1, maxLength: 200, description: "name or id of the target" }),
    bandwidthMiBps: Type.Optional(Type.Integer({ minimum: 1, description: "at most this many MiB/s" })),
    maxDowntimeMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 60_000 })),
    copyDisks: Type.Optional(
      Type.Boolean({
        description: "disks that are not on shared storage are copied; default false: they are a refusal",
      }),
    ),
    postCopy: Type.Optional(Type.Boolean()),
    autoConverge: Type.Optional(Type.Boolean()),
    encrypt: Type.Optional(
      Type.Boolean({
        description:
          "memory and copied disks travel over TLS, with the certificates that the hosts have for QEMU (default: in clear, QEMU's own)",
      }),
    ),
  },
  strict,
);
export type VmMigrate = Static<typeof VmMigrate>;

export const VmPowerOff = Type.Object(
  {
    timeoutMs: Type.Optional(
      Type.Integer({ minimum: 1000, maximum: 3_600_000, description: "how long the guest may take" }),
    ),
  },
  strict,
);

export const VmGuest = Type.Object({
  hostname: Type.Optional(Type.String()),
  osId: Type.Optional(Type.String()),
  osName: Type.Optional(Type.String()),
  osVersion: Type.Optional(Type.String()),
  kernel: Type.Optional(Type.String()),
  timezone: Type.Optional(Type.String()),
  users: Type.Array(Type.String()),
  fileSystems: Type.Array(
    Type.Object({
      mountPoint: Type.String(),
      type: Type.String(),
      totalBytes: Type.Optional(Type.Number()),
      usedBytes: Type.Optional(Type.Number()),
      disks: Type.Array(Type.String()),
    }),
  ),
  interfaces: Type.Array(
    Type.Object({ name: Type.String(), mac: Type.Optional(Type.String()), addresses: Type.Array(GuestAddress) }),
  ),
});
export type VmGuest = Static<typeof VmGuest>;

/** Counters since the VM started; rates are the difference of two samples over the difference of their times. */
export const VmStatistics = Type.Object({
  sampledAt: Time,
  state: Type.String(),
  cpuTimeNs: Type.Number({ description: "of all vCPUs and the emulator" }),
  vcpus: Type.Array(
    Type.Object({
      number: Type.Integer(),
      timeNs: Type.Number(),
      waitNs: Type.Optional(Type.Number()),
      delayNs: Type.Optional(Type.Number()),
    }),
  ),
  memory: Type.Object({
    balloonMiB: Type.Number(),
    maxMiB: Type.Number(),
    residentMiB: Type.Optional(Type.Number()),
    guestAvailableMiB: Type.Optional(Type.Number()),
    guestUnusedMiB: Type.Optional(Type.Number()),
    swapInMiB: Type.Optional(Type.Number()),
    swapOutMiB: Type.Optional(Type.Number()),
  }),
  disks: Type.Array(
    Type.Object({
      target: Type.String(),
      readBytes: Type.Number(),
      readRequests: Type.Number(),
      writeBytes: Type.Number(),
      writeRequests: Type.Number(),
      readTimeNs: Type.Optional(Type.Number()),
      writeTimeNs: Type.Optional(Type.Number()),
      allocationBytes: Type.Optional(Type.Number()),
      capacityBytes: Type.Optional(Type.Number()),
    }),
  ),
  nics: Type.Array(
    Type.Object({
      name: Type.String(),
      receivedBytes: Type.Number(),
      receivedPackets: Type.Number(),
      receivedDrops: Type.Number(),
      sentBytes: Type.Number(),
      sentPackets: Type.Number(),
      sentDrops: Type.Number(),
    }),
  ),
});
export type VmStatistics = Static<typeof VmStatistics>;
