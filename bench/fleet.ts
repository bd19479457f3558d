/**
 * A fleet's documents, shaped as those of real hosts, for benches without hosts: each host has 20 VMs, a pool, a network;
 * every second VM has two disks, every tenth a snapshot. Deterministic.
 */
import { idOfBytes, type Id, type Kind } from "@innkeeper/contract/id.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Draft, ResourceKind, Store } from "@innkeeper/server/store/port.ts";

interface FleetSize {
  readonly hosts: number;
  readonly vms: number;
  readonly events: number;
  readonly tasks: number;
}

/** Of a transaction: as much as memory and log stay small with. */
const batch = 2000;
const at = "2026-11-01T08:00:00.000Z";
const roles = ["web", "db", "cache", "mail", "build", "desktop"];
const environments = ["prod", "test", "dev"];

function id<K extends Kind>(kind: K, index: number): Id<K> {
  // Base 32 in the last characters.
  return idOfBytes(
    kind,
    Uint8Array.from({ length: 12 }, (_, position) => (position < 6 ? 7 : (index >>> (5 * (11 - position))) & 31)),
  );
}

const hex = (index: number, digits: number): string => index.toString(16).padStart(digits, "0");
const hostName = (index: number): string => `kvm-${String(index).padStart(4, "0")}`;
const address = (index: number): string => `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
const mac = (index: number): string => `52:54:00:${hex(index, 6).replaceAll(/(..)(?=.)/g, "$1:")}`;
const vmName = (index: number): string => `${roles[index % roles.length] ?? ""}-${String(index).padStart(5, "0")}`;
const stateOf = (index: number): Vm["state"] => (index % 5 === 0 ? "shutoff" : index % 97 === 0 ? "paused" : "running");
const diskPath = (index: number, disk: number): string =>
  `/var/lib/libvirt/images/${vmName(index)}-vd${"ab"[disk]}.qcow2`;

const hardware: Omit<NonNullable<Host["hardware"]>, "uuid" | "hostname" | "serialNumber"> = {
  vendor: "Dell Inc.",
  product: "PowerEdge R7525",
  architecture: "x86_64",
  cpuModel: "EPYC-Milan",
  cpuCount: 64,
  cpuSockets: 2,
  cpuCoresPerSocket: 16,
  cpuThreadsPerCore: 2,
  cpuMHz: 2450,
  memoryMiB: 524_288,
  numaNodes: [0, 1].map((node) => ({
    id: node,
    memoryMiB: 262_144,
    cpus: Array.from({ length: 32 }, (_, cpu) => node * 32 + cpu),
  })),
  libvirtVersion: "9.0.0",
  hypervisor: "QEMU",
  hypervisorVersion: "7.2.22",
  kvm: { advertised: true, usable: true, detail: "a guest of 16 bits ran to its end" },
  machineTypes: Array.from({ length: 60 }, (_, index) => `pc-${index % 2 === 0 ? "q35" : "i440fx"}-${2 + index / 10}`),
  firmwares: ["bios", "uefi", "uefi-secure"],
  cpuModels: Array.from({ length: 90 }, (_, index) => `CPU-Model-v${index}`),
  domainTypes: ["kvm", "qemu"],
  tpmSupported: true,
  confinements: ["apparmor", "dac"],
  graphicsTypes: ["vnc", "spice"],
  videoModels: ["virtio", "vga", "qxl", "bochs", "none"],
};

function host(index: number): Draft<"host"> {
  const uuid = `4c4c4544-0042-3510-8052-${hex(index, 12)}`;
  return {
    id: id("host", index),
    name: hostName(index),
    uri: `qemu+tls://${hostName(index)}.example.org/system`,
    description: "",
    tags: [`rack${index >> 5}`, index % 4 === 0 ? "gpu" : "general"],
    maintenance: false,
    connectionState: "connected",
    connectionDetail: "",
    connectedAt: at,
    addedAt: at,
    hardware: { ...hardware, uuid, hostname: `${hostName(index)}.example.org`, serialNumber: `SN${hex(index, 8)}` },
    usage: { memoryFreeMiB: 100_000 + (index % 3000), cpuLoadPct: index % 90, sampledAt: at },
  };
}

function vm(index: number, hosts: number): Draft<"vm"> {
  const state = stateOf(index);
  const isActive = state !== "shutoff";
  const disk = (number: number): Vm["spec"]["disks"][number] => ({
    target: `vd${"ab"[number]}`,
    device: "disk",
    bus: "virtio",
    source: diskPath(index, number),
    sourceType: "file",
    format: "qcow2",
    discard: true,
    ...(number === 0 ? { bootOrder: 1, backingChain: ["/var/lib/libvirt/images/debian-12.qcow2"] } : {}),
  });
  return {
    id: id("vm", index),
    uuid: `6d2f1c5e-8f0b-4b7e-9a51-${hex(index, 12)}`,
    name: vmName(index),
    hostId: id("host", index % hosts),
    state,
    stateDetail: isActive ? "booted" : "shutdown",
    description: index % 3 === 0 ? `Made for ticket ${100_000 + index}` : "",
    tags: [environments[index % 3] ?? "", roles[index % roles.length] ?? "", ...(index % 11 === 0 ? ["pci"] : [])],
    template: index % 500 === 0,
    persistent: true,
    managed: true,
    spec: {
      domainType: "kvm",
      architecture: "x86_64",
      cpu: { count: 1 << (index % 4), maxCount: 1 << (index % 4), model: "host-model" },
      memory: { sizeMiB: 1024 << (index % 5), balloonMiB: 1024 << (index % 5) },
      disks: index % 2 === 0 ? [disk(0)] : [disk(0), disk(1)],
      nics: [
        {
          mac: mac(index),
          type: "network",
          network: "default",
          model: "virtio",
          ...(isActive ? { hostDevice: `vnet${index % 40}` } : {}),
          linkUp: true,
        },
      ],
      machine: "pc-q35-7.2",
      firmware: "uefi",
      graphics: "vnc",
      video: "virtio",
      serial: true,
      guestAgent: true,
      balloon: true,
      autostart: index % 2 === 0,
    },
    pendingChanges: [],
    addresses: isActive ? [{ mac: mac(index), address: address(index), prefixLength: 24, source: "agent" }] : [],
    guestAgentConnected: isActive,
    currentSnapshotId: index % 10 === 0 ? id("snapshot", index) : null,
    foreignSnapshotCount: 0,
    createdAt: at,
    ...(isActive ? { startedAt: at } : {}),
  };
}

function volume(index: number, disk: number, hosts: number): Draft<"volume"> {
  const path = diskPath(index, disk);
  return {
    id: id("volume", index * 2 + disk),
    poolId: id("storage-pool", index % hosts),
    hostId: id("host", index % hosts),
    name: path.slice(path.lastIndexOf("/") + 1),
    path,
    format: "qcow2",
    capacityBytes: 21_474_836_480,
    allocationBytes: 3_000_000_000 + index,
    ...(disk === 0 ? { backingPath: "/var/lib/libvirt/images/debian-12.qcow2" } : {}),
  };
}

function snapshot(index: number): Draft<"snapshot"> {
  return {
    id: id("snapshot", index),
    vmId: id("vm", index),
    name: "before upgrade",
    description: "",
    parentId: null,
    current: true,
    withMemory: false,
    quiesced: true,
    vmState: "running",
    disks: [{ target: "vda", path: diskPath(index, 0), format: "qcow2" }],
    createdAt: at,
  };
}

function pool(index: number): Draft<"storage-pool"> {
  return {
    id: id("storage-pool", index),
    hostId: id("host", index),
    name: "default",
    uuid: `0b1f8f6a-2f10-4f1c-8f5e-${hex(index, 12)}`,
    type: "dir",
    state: "running",
    path: "/var/lib/libvirt/images",
    shared: false,
    autostart: true,
    capacityBytes: 4_000_000_000_000,
    allocationBytes: 1_000_000_000_000 + index,
    availableBytes: 3_000_000_000_000 - index,
  };
}

function network(index: number): Draft<"network"> {
  return {
    id: id("network", index),
    hostId: id("host", index),
    name: "default",
    uuid: `9a05da11-e96b-47f3-8253-${hex(index, 12)}`,
    active: true,
    autostart: true,
    forwardMode: "nat",
    bridge: "virbr0",
    addresses: ["192.168.122.1/24"],
    dhcp: true,
  };
}

function event(index: number, { vms, hosts }: FleetSize): Draft<"event"> {
  const of = index % vms;
  return {
    id: id("event", index),
    time: at,
    type: "vm.started",
    severity: "info",
    message: `VM ${vmName(of)} was started`,
    resources: [
      { kind: "vm", id: id("vm", of), name: vmName(of) },
      { kind: "host", id: id("host", of % hosts), name: hostName(of % hosts) },
    ],
  };
}

function task(index: number, { vms }: FleetSize): Draft<"task"> {
  const of = index % vms;
  return {
    id: id("task", index),
    operation: "vm.start",
    target: { kind: "vm", id: id("vm", of), name: vmName(of) },
    state: "succeeded",
    cancelRequested: false,
    progress: { done: 2, total: 2, unit: "step" },
    message: "done",
    steps: ["start", "read"].map((name) => ({ name, state: "done", startedAt: at, finishedAt: at })),
    createdBy: "admin",
    createdAt: at,
    startedAt: at,
    finishedAt: at,
  };
}

/** Puts the fleet into an empty store. */
export async function storeFleet(store: Store, size: FleetSize): Promise<void> {
  const { hosts, vms } = size;
  await putAll(store, "host", hosts, host);
  await putAll(store, "storage-pool", hosts, pool);
  await putAll(store, "network", hosts, network);
  await putAll(store, "vm", vms, (index) => vm(index, hosts));
  await putAll(store, "volume", vms, (index) => volume(index, 0, hosts));
  await putAll(store, "volume", Math.floor(vms / 2), (index) => volume(index * 2 + 1, 1, hosts));
  await putAll(store, "snapshot", Math.floor(vms / 10), (index) => snapshot(index * 10));
  await putAll(store, "event", size.events, (index) => event(index, size));
  await putAll(store, "task", size.tasks, (index) => task(index, size));
  await store.prune({ changes: 20_000, events: size.events, tasks: size.tasks });
}

async function putAll<K extends ResourceKind>(
  store: Store,
  kind: K,
  count: number,
  make: (index: number) => Draft<K>,
): Promise<void> {
  for (let first = 0; first < count; first += batch) {
    await store.transaction(async (transaction) => {
      for (let index = first; index < Math.min(first + batch, count); index++) await transaction.put(kind, make(index));
    });
  }
}
