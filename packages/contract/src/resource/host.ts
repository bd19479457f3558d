/** A physical server that runs libvirt. */
import { Type, type Static } from "typebox";
import { IdOf } from "../id.ts";
import { Name } from "../name.ts";
import { baseFields, Description, strict, Tag, Time } from "./base.ts";

/** `connecting` with back-off follows every loss; `unreachable` says why in `connectionDetail`. */
export const hostConnectionStates = ["connecting", "connected", "unreachable", "untrusted", "refused"] as const;
export type HostConnectionState = (typeof hostConnectionStates)[number];

export const NumaNode = Type.Object({
  id: Type.Integer({ minimum: 0 }),
  memoryMiB: Type.Number({ minimum: 0 }),
  cpus: Type.Array(Type.Integer({ minimum: 0 }), { description: "host CPU numbers" }),
});

/** Whether guests really run under KVM: the device may exist and libvirt may advertise it where guests never progress. */
export const KvmStatus = Type.Object({
  advertised: Type.Boolean({ description: "libvirt's capabilities name domain type kvm" }),
  usable: Type.Union([Type.Boolean(), Type.Null()], {
    description: "a tiny guest ran to its end under KVM; null: not tested yet",
  }),
  detail: Type.String(),
});

export const HostHardware = Type.Object({
  uuid: Type.String({ description: "libvirt's host UUID" }),
  hostname: Type.String(),
  vendor: Type.Optional(Type.String()),
  product: Type.Optional(Type.String()),
  serialNumber: Type.Optional(Type.String()),
  architecture: Type.String({ description: "e.g. x86_64" }),
  cpuModel: Type.String(),
  cpuCount: Type.Integer({ minimum: 0, description: "logical CPUs online" }),
  cpuSockets: Type.Integer({ minimum: 0 }),
  cpuCoresPerSocket: Type.Integer({ minimum: 0 }),
  cpuThreadsPerCore: Type.Integer({ minimum: 0 }),
  cpuMHz: Type.Integer({ minimum: 0 }),
  memoryMiB: Type.Integer({ minimum: 0 }),
  numaNodes: Type.Array(NumaNode),
  libvirtVersion: Type.String(),
  hypervisor: Type.String({ description: "QEMU, Xen, LXC, TEST" }),
  hypervisorVersion: Type.String(),
  kvm: KvmStatus,
  machineTypes: Type.Array(Type.String()),
  firmwares: Type.Array(Type.String({ description: "bios, uefi, uefi-secure" })),
  cpuModels: Type.Array(Type.String({ description: "CPU models usable by a guest here" })),
  domainTypes: Type.Array(Type.String({ description: "kvm, qemu, xen, lxc, test" })),
  tpmSupported: Type.Boolean(),
  confinements: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "by which libvirt keeps guests from the host and from one another: selinux, apparmor, dac (users of their own); none is an empty list",
    }),
  ),
  graphicsTypes: Type.Optional(Type.Array(Type.String({ description: "vnc, spice …; absent: the host does not say" }))),
  videoModels: Type.Optional(Type.Array(Type.String({ description: "virtio, qxl …; absent: the host does not say" }))),
});
export type HostHardware = Static<typeof HostHardware>;

export const HostUsage = Type.Object({
  memoryFreeMiB: Type.Integer({ minimum: 0 }),
  cpuLoadPct: Type.Number({ minimum: 0, description: "of all logical CPUs together" }),
  sampledAt: Time,
});
export type HostUsage = Static<typeof HostUsage>;

export const Host = Type.Object({
  ...baseFields("host"),
  name: Name,
  uri: Type.String({ description: "libvirt URI, without secrets" }),
  description: Description,
  tags: Type.Array(Tag),
  clusterId: Type.Optional(IdOf("cluster")),
  maintenance: Type.Boolean({ description: "no new guest is placed here" }),
  connectionState: Type.Unsafe<HostConnectionState>({ type: "string", enum: hostConnectionStates }),
  connectionDetail: Type.String(),
  connectedAt: Type.Optional(Time),
  addedAt: Time,
  hardware: Type.Optional(HostHardware),
  usage: Type.Optional(HostUsage),
});
export type Host = Static<typeof Host>;

/** Transport and path as libvirt's URIs have them: https://libvirt.org/uri.html */
export const HostUri = Type.String({
  minLength: 3,
  maxLength: 2048,
  pattern: "^(qemu|test|xen|lxc)(\\+(unix|tcp|tls|ssh))?://",
  description:
    "qemu:///system, qemu+unix:///system?socket=…, qemu+tls://host/system, qemu+ssh://user@host/system; test:///default",
});

const HostTls = Type.Object(
  {
    caCertificate: Type.Optional(Type.String({ maxLength: 65_536, description: "PEM; default: Innkeeper's own CA" })),
    clientCertificate: Type.Optional(Type.String({ maxLength: 65_536, description: "PEM" })),
    clientKey: Type.Optional(Type.String({ maxLength: 65_536, description: "PEM; stored encrypted, never returned" })),
  },
  strict,
);

const HostSasl = Type.Object(
  {
    userName: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1024, description: "default: the user in the URI" }),
    ),
    password: Type.String({ minLength: 1, maxLength: 1024, description: "stored encrypted, never returned" }),
  },
  {
    ...strict,
    description: 'for a libvirtd that asks for a name and a password (auth_tls or auth_unix_rw = "sasl")',
  },
);

const HostSsh = Type.Object(
  {
    privateKey: Type.Optional(Type.String({ maxLength: 65_536, description: "stored encrypted, never returned" })),
    password: Type.Optional(Type.String({ maxLength: 1024, description: "stored encrypted, never returned" })),
    hostKeyFingerprint: Type.Optional(Type.String({ maxLength: 200, description: "SHA256:… ; default: known_hosts" })),
  },
  strict,
);

const ClusterName = Type.String({
  minLength: 1,
  maxLength: 200,
  description: "name or id of the cluster that it is in",
});

export const HostAdd = Type.Object(
  {
    uri: HostUri,
    name: Type.Optional(Name),
    description: Type.Optional(Description),
    tags: Type.Optional(Type.Array(Tag, { maxItems: 100 })),
    cluster: Type.Optional(ClusterName),
    tls: Type.Optional(HostTls),
    sasl: Type.Optional(HostSasl),
    ssh: Type.Optional(HostSsh),
  },
  strict,
);
export type HostAdd = Static<typeof HostAdd>;

const none = "null: none any more";

/** What is given takes the place of what is stored of its kind, as a whole; what is absent stays. */
export const HostReconnect = Type.Object(
  {
    uri: Type.Optional(HostUri),
    tls: Type.Optional(
      Type.Union([HostTls, Type.Null({ description: "null: Innkeeper's own authority and certificate" })]),
    ),
    sasl: Type.Optional(Type.Union([HostSasl, Type.Null({ description: none })])),
    ssh: Type.Optional(Type.Union([HostSsh, Type.Null({ description: none })])),
  },
  strict,
);
export type HostReconnect = Static<typeof HostReconnect>;

export const HostChange = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(Description),
    tags: Type.Optional(Type.Array(Tag, { maxItems: 100 })),
    cluster: Type.Optional(Type.Union([ClusterName, Type.Null({ description: "null: in none" })])),
    maintenance: Type.Optional(Type.Boolean()),
  },
  { ...strict, minProperties: 1 },
);
export type HostChange = Static<typeof HostChange>;
