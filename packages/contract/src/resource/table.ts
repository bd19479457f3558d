/** Every kind of resource: its schema, the short names of its fields, and where free text is searched. */
import type { FieldSources } from "../field-path.ts";
import { Cluster } from "./cluster.ts";
import { Event } from "./event.ts";
import { Host } from "./host.ts";
import { Image } from "./image.ts";
import { Network } from "./network.ts";
import { Snapshot } from "./snapshot.ts";
import { StoragePool } from "./storage-pool.ts";
import { Task } from "./task.ts";
import { Token, User } from "./user.ts";
import { Vm } from "./vm.ts";
import { Volume } from "./volume.ts";

export const resourceTable = {
  cluster: { schema: Cluster, shortNames: {}, text: ["name", "description", "id"] },
  host: {
    schema: Host,
    shortNames: {
      tag: "tags",
      state: "connectionState",
      memoryMiB: "hardware.memoryMiB",
      memoryFreeMiB: "usage.memoryFreeMiB",
      cpuCount: "hardware.cpuCount",
      cpuLoadPct: "usage.cpuLoadPct",
      architecture: "hardware.architecture",
      libvirtVersion: "hardware.libvirtVersion",
    },
    text: ["name", "description", "tags", "uri", "hardware.hostname", "hardware.uuid", "id"],
  },
  vm: {
    schema: Vm,
    shortNames: {
      tag: "tags",
      cluster: "host.cluster",
      memoryMiB: "spec.memory.sizeMiB",
      cpuCount: "spec.cpu.count",
      ip: "addresses.address",
      mac: "spec.nics.mac",
      network: "spec.nics.network",
      firmware: "spec.firmware",
      machine: "spec.machine",
      architecture: "spec.architecture",
    },
    text: ["name", "description", "tags", "folder", "addresses.address", "spec.nics.mac", "uuid", "id"],
  },
  snapshot: { schema: Snapshot, shortNames: {}, text: ["name", "description", "id"] },
  volume: { schema: Volume, shortNames: {}, text: ["name", "path", "id"] },
  "storage-pool": { schema: StoragePool, shortNames: {}, text: ["name", "path", "source", "uuid", "id"] },
  network: { schema: Network, shortNames: {}, text: ["name", "bridge", "addresses", "uuid", "id"] },
  image: { schema: Image, shortNames: {}, text: ["name", "description", "path", "id"] },
  task: {
    schema: Task,
    shortNames: {},
    text: ["operation", "target.name", "message", "createdBy", "error.detail", "id"],
  },
  event: { schema: Event, shortNames: {}, text: ["message", "type", "user", "resources.name", "id"] },
  user: { schema: User, shortNames: {}, text: ["name", "fullName", "id"] },
  token: { schema: Token, shortNames: {}, text: ["name", "id"] },
} as const satisfies FieldSources;
