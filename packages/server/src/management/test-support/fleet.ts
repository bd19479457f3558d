/** An inventory of hosts, pools, networks, images and VMs as documents alone, for tests of what is decided from it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { newId } from "@innkeeper/contract/id.ts";
import type { Cluster } from "@innkeeper/contract/resource/cluster.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Image } from "@innkeeper/contract/resource/image.ts";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { VmDisk, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import type { Draft, ResourceKind, ResourceMap, Store } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const time = "2026-01-01T00:00:00.000Z";
const gib = 1024 ** 3;

export class Fleet implements AsyncDisposable {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly #folder: string;

  private constructor(store: Store, inventory: Inventory, folder: string) {
    this.store = store;
    this.inventory = inventory;
    this.#folder = folder;
  }

  static async open(): Promise<Fleet> {
    const folder = await mkdtemp(path.join(tmpdir(), "inn-fleet-"));
    const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
    return new Fleet(store, await Inventory.open(store), folder);
  }

  put<K extends ResourceKind>(kind: K, draft: Draft<K>): Promise<ResourceMap[K]> {
    return this.store.transaction((transaction) => transaction.put(kind, draft));
  }

  cluster(name: string): Promise<Cluster> {
    return this.put("cluster", { id: newId("cluster"), name, description: "", createdAt: time });
  }

  /** A connected host with 16 GiB, 8 CPUs, network `default`, and the pools `local` and, shared, `shared`. */
  async host(name: string, change: Partial<Host> & { hardwareChange?: object } = {}): Promise<Host> {
    const { hardwareChange, ...rest } = change;
    const hardware = {
      uuid: crypto.randomUUID(),
      hostname: name,
      architecture: "x86_64",
      cpuModel: "EPYC",
      cpuCount: 8,
      cpuSockets: 1,
      cpuCoresPerSocket: 8,
      cpuThreadsPerCore: 1,
      cpuMHz: 3000,
      memoryMiB: 16384,
      numaNodes: [],
      libvirtVersion: "9.0.0",
      hypervisor: "QEMU",
      hypervisorVersion: "7.2.0",
      kvm: { advertised: true, usable: true, detail: "" },
      machineTypes: ["q35", "pc", "pc-q35-7.2", "pc-i440fx-7.2"],
      firmwares: ["bios", "uefi"],
      cpuModels: ["qemu64", "EPYC"],
      domainTypes: ["kvm", "qemu"],
      tpmSupported: true,
      ...hardwareChange,
    };
    const host = await this.put("host", {
      id: newId("host"),
      name,
      uri: `qemu+tls://${name}.example/system`,
      description: "",
      tags: [],
      maintenance: false,
      connectionState: "connected",
      connectionDetail: "",
      addedAt: time,
      hardware,
      usage: { memoryFreeMiB: 8192, cpuLoadPct: 1, sampledAt: time },
      ...rest,
    });
    await this.pool(host, "local");
    await this.pool(host, "shared", { shared: true, path: "/srv/shared" });
    await this.network(host, "default");
    return host;
  }

  pool(host: Host, name: string, change: Partial<StoragePool> = {}): Promise<StoragePool> {
    return this.put("storage-pool", {
      id: newId("storage-pool"),
      hostId: host.id,
      name,
      uuid: crypto.randomUUID(),
      type: "dir",
      state: "running",
      path: `/srv/${name}`,
      shared: false,
      autostart: true,
      capacityBytes: 100 * gib,
      allocationBytes: 50 * gib,
      availableBytes: 50 * gib,
      ...change,
    });
  }

  async network(host: Host, name: string, active = true): Promise<void> {
    const id = newId("network");
    const document = { id, hostId: host.id, name, uuid: crypto.randomUUID(), active, autostart: true };
    await this.put("network", { ...document, forwardMode: "nat", addresses: [], dhcp: true });
  }

  volume(host: Host, poolName: string, name: string, change: Partial<Volume> = {}): Promise<Volume> {
    const pool = this.inventory.byHost("storage-pool", host.id).find((each) => each.name === poolName);
    if (pool === undefined) throw new Error(`no pool ${poolName}`);
    return this.put("volume", {
      id: newId("volume"),
      hostId: host.id,
      poolId: pool.id,
      name,
      path: `${pool.path}/${name}`,
      format: "qcow2",
      capacityBytes: 10 * gib,
      allocationBytes: gib,
      ...change,
    });
  }

  async image(host: Host, poolName: string, name: string): Promise<Image> {
    const volume = await this.volume(host, poolName, `${name}.qcow2`);
    const { path: imagePath, format, capacityBytes, name: volumeName, hostId } = volume;
    const place = { hostId, poolName, volumeName, path: imagePath, format, capacityBytes };
    return this.put("image", { id: newId("image"), name, description: "", createdAt: time, ...place });
  }

  vm(host: Host, name: string, change: Partial<Vm> & { specChange?: Partial<VmSpec> } = {}): Promise<Vm> {
    const { specChange, ...rest } = change;
    const spec: VmSpec = {
      domainType: "kvm",
      architecture: "x86_64",
      cpu: { count: 2, model: "EPYC" },
      memory: { sizeMiB: 2048 },
      machine: "pc-q35-7.2",
      firmware: "bios",
      disks: [fleetDisk("vda", `/srv/shared/${name}.qcow2`)],
      nics: [{ mac: "52:54:00:00:00:01", type: "network", network: "default", model: "virtio" }],
      ...specChange,
    };
    return this.put("vm", {
      id: newId("vm"),
      uuid: crypto.randomUUID(),
      name,
      hostId: host.id,
      state: "shutoff",
      stateDetail: "",
      description: "",
      tags: [],
      template: false,
      persistent: true,
      managed: true,
      spec,
      pendingChanges: [],
      addresses: [],
      guestAgentConnected: false,
      currentSnapshotId: null,
      foreignSnapshotCount: 0,
      createdAt: time,
      ...rest,
    });
  }

  snapshot(vm: Vm, name: string, change: Partial<Snapshot> = {}): Promise<Snapshot> {
    return this.put("snapshot", {
      id: newId("snapshot"),
      vmId: vm.id,
      name,
      description: "",
      parentId: null,
      current: true,
      withMemory: false,
      quiesced: false,
      vmState: "shutoff",
      disks: [{ target: "vda", path: `/srv/shared/${vm.name}.qcow2`, format: "qcow2" }],
      createdAt: time,
      ...change,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.inventory[Symbol.dispose]();
    await this.store[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }
}

export function fleetDisk(target: string, source: string, change: Partial<VmDisk> = {}): VmDisk {
  return { target, device: "disk", bus: "virtio", source, sourceType: "file", format: "qcow2", ...change };
}
