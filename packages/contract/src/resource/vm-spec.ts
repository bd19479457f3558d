/**
 * The configuration of a VM, as far as Innkeeper models it; its truth is the host's persistent domain XML
 * (https://libvirt.org/formatdomain.html), where everything that is not modelled here is preserved.
 */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { strict } from "./base.ts";
import { volumeMaxBytes } from "./volume.ts";

/** QEMU 7.2's q35 takes 288 vCPUs without an IOMMU; libvirt's own limit is higher. */
export const vcpuMax = 4096;
/** 24 TiB: vSphere's maximum for one VM; hosts refuse what they do not have. */
export const memoryMaxMiB = 24 * 1024 * 1024;

/** A set of CPU or node numbers as libvirt writes it: `0-3,8,^2`. */
const cpuSetPattern = "^\\^?[0-9]+(-[0-9]+)?(,\\^?[0-9]+(-[0-9]+)?)*$";
export const CpuSet = Type.String({ pattern: cpuSetPattern, maxLength: 1024 });

export const MacAddress = Type.String({
  pattern: "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$",
  description: "unicast, e.g. 52:54:00:12:34:56",
});
export const TargetDevice = Type.String({
  pattern: "^(vd|sd|hd|fd)[a-z]{1,2}$",
  description: "device name: vda, sdb …",
});
const BootOrder = Type.Integer({ minimum: 1, maximum: 255, description: "1 is tried first" });

export const VmCpu = Type.Object(
  {
    count: Type.Integer({ minimum: 1, maximum: vcpuMax, description: "vCPUs online at start" }),
    maxCount: Type.Optional(
      Type.Integer({ minimum: 1, maximum: vcpuMax, description: "up to which vCPUs can be added while it runs" }),
    ),
    topology: Type.Optional(
      Type.Object(
        {
          sockets: Type.Integer({ minimum: 1, maximum: vcpuMax }),
          cores: Type.Integer({ minimum: 1, maximum: vcpuMax }),
          threads: Type.Integer({ minimum: 1, maximum: 8 }),
        },
        strict,
      ),
    ),
    model: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9_.-]{1,64}$",
        description: "host-model, host-passthrough, maximum, or a model of libvirt's list such as EPYC-Milan",
      }),
    ),
    pinning: Type.Optional(
      Type.Array(Type.Object({ vcpu: Type.Integer({ minimum: 0, maximum: vcpuMax }), hostCpus: CpuSet }, strict), {
        maxItems: vcpuMax,
      }),
    ),
    emulatorPinning: Type.Optional(CpuSet),
    shares: Type.Optional(
      Type.Integer({
        minimum: 2,
        maximum: 262_144,
        description: "relative weight; normal is 1024 on a host with cgroup v1, 100 with v2 (which allows 1 to 10000)",
      }),
    ),
    limitPct: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 409_600,
        description: "of one host CPU, for the whole VM: 200 = two CPUs' worth; 0: no limit",
      }),
    ),
  },
  strict,
);

/** What is given is changed; null takes a setting away. */
export const VmCpuChange = Type.Object(
  {
    ...Type.Partial(VmCpu).properties,
    emulatorPinning: Type.Optional(Type.Union([CpuSet, Type.Null()], { description: "null: not pinned" })),
    shares: Type.Optional(
      Type.Union([VmCpu.properties.shares, Type.Null()], { description: "null: the normal weight" }),
    ),
  },
  strict,
);
export type VmCpuChange = Static<typeof VmCpuChange>;

export const VmMemory = Type.Object(
  {
    sizeMiB: Type.Integer({ minimum: 1, maximum: memoryMaxMiB, description: "what the guest has at start" }),
    balloonMiB: Type.Optional(
      Type.Integer({ minimum: 1, maximum: memoryMaxMiB, description: "balloon target, at most sizeMiB" }),
    ),
    hugepageKiB: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: "size of the huge pages that back it: 2048, 1048576; 0: ordinary pages",
      }),
    ),
    shares: Type.Optional(Type.Integer({ minimum: 2, maximum: 262_144 })),
    reservationMiB: Type.Optional(
      Type.Integer({ minimum: 0, maximum: memoryMaxMiB, description: "host memory guaranteed to it" }),
    ),
    limitMiB: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: memoryMaxMiB,
        description: "most host memory that it may take; 0: no limit",
      }),
    ),
    locked: Type.Optional(Type.Boolean({ description: "never swapped by the host" })),
    numaCells: Type.Optional(
      Type.Array(
        Type.Object(
          {
            cpus: CpuSet,
            memoryMiB: Type.Integer({ minimum: 1, maximum: memoryMaxMiB }),
            hostNodes: Type.Optional(CpuSet),
          },
          strict,
        ),
        { maxItems: 128 },
      ),
    ),
  },
  strict,
);

export const IoLimit = Type.Object(
  {
    totalBytesPerSecond: Type.Optional(Type.Integer({ minimum: 0 })),
    readBytesPerSecond: Type.Optional(Type.Integer({ minimum: 0 })),
    writeBytesPerSecond: Type.Optional(Type.Integer({ minimum: 0 })),
    totalIops: Type.Optional(Type.Integer({ minimum: 0 })),
    readIops: Type.Optional(Type.Integer({ minimum: 0 })),
    writeIops: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  { ...strict, description: "0 or absent: no limit" },
);
export type IoLimit = Static<typeof IoLimit>;

export const diskDevices = ["disk", "cdrom", "floppy"] as const;
/** What a disk that exists can be besides: a SCSI device whose commands the guest sends to it itself. */
export const foundDiskDevices = [...diskDevices, "lun"] as const;
export const diskBuses = ["virtio", "scsi", "sata", "usb", "ide", "fdc"] as const;
const DiskDevice = Type.Unsafe<(typeof diskDevices)[number]>({ type: "string", enum: diskDevices });
const DiskBus = Type.Unsafe<(typeof diskBuses)[number]>({ type: "string", enum: diskBuses });
const DiskCache = Type.Unsafe<"default" | "none" | "writethrough" | "writeback" | "directsync" | "unsafe">({
  type: "string",
  enum: ["default", "none", "writethrough", "writeback", "directsync", "unsafe"],
});

const diskTuning = {
  cache: Type.Optional(DiskCache),
  io: Type.Optional(
    Type.Unsafe<"threads" | "native" | "io_uring">({ type: "string", enum: ["threads", "native", "io_uring"] }),
  ),
  discard: Type.Optional(Type.Boolean({ description: "the guest's TRIM frees space; default true for disks" })),
  ioThread: Type.Optional(Type.Integer({ minimum: 1, maximum: 64 })),
  serialNumber: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9_.+ -]{1,36}$" })),
  bootOrder: Type.Optional(BootOrder),
  ioLimit: Type.Optional(IoLimit),
  readOnly: Type.Optional(Type.Boolean()),
};

/** A disk that a VM has. */
export const VmDisk = Type.Object({
  target: TargetDevice,
  device: Type.Unsafe<(typeof foundDiskDevices)[number]>({ type: "string", enum: foundDiskDevices }),
  bus: Type.String(),
  source: Type.Optional(Type.String({ description: "path, or URL of a network disk; absent: an empty drive" })),
  sourceType: Type.String({ description: "libvirt's: file, block, network, volume, dir, nvme, vhostuser, vhostvdpa" }),
  format: Type.Optional(Type.String()),
  shareable: Type.Optional(Type.Boolean({ description: "several VMs may write it at a time" })),
  transient: Type.Optional(Type.Boolean({ description: "what the guest writes is lost when it stops" })),
  encryption: Type.Optional(Type.String({ description: "libvirt's: luks, qcow; its secret is kept on the host" })),
  backingChain: Type.Optional(Type.Array(Type.String(), { description: "the layers below, nearest first" })),
  ...diskTuning,
});
export type VmDisk = Static<typeof VmDisk>;

/** A disk that is asked for: exactly one of image, volumeId, path, capacityBytes; none of them: an empty CD-ROM drive. */
export const VmDiskCreate = Type.Object(
  {
    target: Type.Optional(TargetDevice),
    device: Type.Optional(DiskDevice),
    bus: Type.Optional(DiskBus),
    pool: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        description: "pool for a new disk, by name; default: the roomiest that every constraint allows",
      }),
    ),
    capacityBytes: Type.Optional(
      Type.Integer({ minimum: 1, maximum: volumeMaxBytes, description: "new disk; with image: grown to it" }),
    ),
    format: Type.Optional(Type.Unsafe<"raw" | "qcow2">({ type: "string", enum: ["raw", "qcow2"] })),
    preallocate: Type.Optional(
      Type.Boolean({
        description: "a new disk: takes all of its space at once (thick); default false: as it is written",
      }),
    ),
    image: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, description: "name or id of the image that it is made from" }),
    ),
    linked: Type.Optional(Type.Boolean({ description: "with image: an overlay on it instead of a copy" })),
    volumeId: Type.Optional(IdOf("volume")),
    path: Type.Optional(
      Type.String({
        pattern: "^/[^\\u0000-\\u001f]*$",
        maxLength: 4096,
        description: "a volume by its path on the host",
      }),
    ),
    /** Of a new disk, in its pool, where it must be free; default: one made from the VM's name. */
    volumeName: Type.Optional(Name),
    ejectAfterInstall: Type.Optional(
      Type.Boolean({ description: "a drive's medium: in for the first start alone (see installXml)" }),
    ),
    ...diskTuning,
  },
  strict,
);
export type VmDiskCreate = Static<typeof VmDiskCreate>;

const nicTuning = {
  linkUp: Type.Optional(Type.Boolean()),
  bootOrder: Type.Optional(BootOrder),
};

export const VmNic = Type.Object({
  mac: MacAddress,
  type: Type.String({ description: "libvirt's: network, bridge, direct, user, ethernet …" }),
  network: Type.Optional(Type.String({ description: "libvirt network, bridge or device it attaches to" })),
  model: Type.Optional(Type.String()),
  hostDevice: Type.Optional(Type.String({ description: "tap device while it runs" })),
  ...nicTuning,
});
export type VmNic = Static<typeof VmNic>;

/** Exactly one of network and bridge. */
export const VmNicCreate = Type.Object(
  {
    network: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: "libvirt network by name" })),
    bridge: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9._-]{1,15}$" })),
    mac: Type.Optional(MacAddress),
    model: Type.Optional(
      Type.Unsafe<"virtio" | "e1000e" | "e1000" | "rtl8139">({
        type: "string",
        enum: ["virtio", "e1000e", "e1000", "rtl8139"],
      }),
    ),
    ...nicTuning,
  },
  strict,
);
export type VmNicCreate = Static<typeof VmNicCreate>;

export const firmwares = ["bios", "uefi", "uefi-secure"] as const;
export type Firmware = (typeof firmwares)[number];

const hardwareFields = {
  machine: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9._-]{1,64}$", description: "machine type; default q35" })),
  firmware: Type.Optional(Type.Unsafe<Firmware>({ type: "string", enum: firmwares })),
  tpm: Type.Optional(Type.Boolean({ description: "an emulated TPM 2.0" })),
  graphics: Type.Optional(Type.Unsafe<"none" | "vnc" | "spice">({ type: "string", enum: ["none", "vnc", "spice"] })),
  video: Type.Optional(
    Type.Unsafe<"none" | "virtio" | "vga" | "qxl" | "bochs">({
      type: "string",
      enum: ["none", "virtio", "vga", "qxl", "bochs"],
    }),
  ),
  serial: Type.Optional(Type.Boolean()),
  guestAgent: Type.Optional(Type.Boolean({ description: "the channel for qemu-guest-agent" })),
  balloon: Type.Optional(Type.Boolean()),
  ioThreads: Type.Optional(Type.Integer({ minimum: 0, maximum: 64 })),
  autostart: Type.Optional(Type.Boolean({ description: "starts with the host's libvirt" })),
};

/** A device or setting that Innkeeper shows and preserves, but does not change. */
export const OtherHardware = Type.Object({
  kind: Type.String({
    description: "libvirt's element: hostdev, filesystem, redirdev, shmem, watchdog, launchSecurity, commandline …",
  }),
  detail: Type.String({ description: "what it is in a few words: pci 0000:06:00.0, virtiofs /srv as share" }),
});
export type OtherHardware = Static<typeof OtherHardware>;

/** The configuration that a VM has. */
export const VmSpec = Type.Object({
  domainType: Type.String({ description: "kvm, qemu, xen, lxc, test" }),
  architecture: Type.String(),
  cpu: VmCpu,
  memory: VmMemory,
  disks: Type.Array(VmDisk),
  nics: Type.Array(VmNic),
  ...hardwareFields,
  otherHardware: Type.Optional(Type.Array(OtherHardware, { description: "absent: none" })),
});
export type VmSpec = Static<typeof VmSpec>;

/** The hardware that is asked for in a new VM. What is absent gets the default that the field's docs name. */
export const vmCreateHardware = {
  cpu: Type.Optional(VmCpu),
  memory: VmMemory,
  disks: Type.Optional(Type.Array(VmDiskCreate, { maxItems: 256 })),
  nics: Type.Optional(Type.Array(VmNicCreate, { maxItems: 64 })),
  ...hardwareFields,
};
export { hardwareFields as vmHardwareFields };
