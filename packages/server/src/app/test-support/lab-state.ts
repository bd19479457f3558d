/** What is on a lab's hosts, seen without Innkeeper: domains through virsh, files through the file system. */
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { readRetained } from "#management/snapshot/snapshot-record.ts";
import type { Store } from "#store/port.ts";

const localFolder = "/var/lib/libvirt/images";
/** Firmware variables, saved memory and TPMs (https://libvirt.org/drvqemu.html, "Location of configuration files"). */
const keptFolders = ["/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/qemu/save", "/var/lib/libvirt/swtpm"];

export interface LabState {
  /** `h1: web1 running`, sorted. */
  readonly domains: readonly string[];
  /** `h1:/var/lib/…`, `shared:/…`, sorted. */
  readonly files: readonly string[];
}

export async function labState(lab: Lab): Promise<LabState> {
  const domains: string[] = [];
  const files: string[] = [];
  for (const host of lab.hosts) {
    const list = await host.exec(["virsh", "-q", "list", "--all"]);
    for (const line of lines(list.stdout)) {
      const [, name, ...state] = line.trim().split(/\s+/);
      domains.push(`${host.name}: ${name} ${state.join(" ")}`);
    }
    const found = await host.exec(["find", localFolder, "-type", "f"]);
    files.push(...lines(found.stdout).map((file) => `${host.name}:${file}`));
  }
  const [first] = lab.hosts;
  const found = await first?.exec(["find", lab.sharedFolder, "-type", "f"]);
  files.push(...lines(found?.stdout ?? "").map((file) => `shared:${file}`));
  return { domains: domains.toSorted(), files: files.toSorted() };
}

export interface KeptState {
  /** What hosts keep of VMs beside their disks: `h1:/var/lib/libvirt/qemu/nvram/…`, sorted. */
  readonly files: readonly string[];
  /** `h1: pool local`, `h1: network default`, sorted. */
  readonly objects: readonly string[];
}

/** What operations on VMs may leave on hosts besides domains and volumes. */
export async function keptState(lab: Lab): Promise<KeptState> {
  const files: string[] = [];
  const objects: string[] = [];
  for (const host of lab.hosts) {
    const script = `for folder in ${keptFolders.join(" ")}; do if test -d $folder; then find $folder -type f; fi; done`;
    const found = await host.exec(["sh", "-c", script]);
    files.push(...lines(found.stdout).map((file) => `${host.name}:${file}`));
    for (const [kind, verb] of [
      ["pool", "pool-list"],
      ["network", "net-list"],
    ] as const) {
      const list = await host.exec(["virsh", "-q", verb, "--all", "--name"]);
      objects.push(...lines(list.stdout).map((name) => `${host.name}: ${kind} ${name.trim()}`));
    }
  }
  return { files: files.toSorted(), objects: objects.toSorted() };
}

/** Files and domains that nothing in the inventory accounts for, and documents of VMs that no host has. */
export async function orphans(lab: Lab, state: LabState, inventory: Inventory, store: Store): Promise<string[]> {
  const known = new Set<string>();
  const nameOf = (hostId: string, path: string): string =>
    path.startsWith(`${lab.sharedFolder}/`) ? `shared:${path}` : `${inventory.require("host", hostId).name}:${path}`;
  const add = (hostId: string, path: string): void => void known.add(nameOf(hostId, path));
  for (const image of inventory.list("image")) add(image.hostId, image.path);
  const documents = new Set<string>();
  for (const vm of inventory.list("vm")) {
    documents.add(`${inventory.require("host", vm.hostId).name}: ${vm.name}`);
    for (const disk of vm.spec.disks)
      for (const path of [disk.source, ...(disk.backingChain ?? [])]) if (path) add(vm.hostId, path);
    for (const layer of await readRetained(store, vm.id)) add(vm.hostId, layer.path);
    for (const snapshot of inventory.by("snapshot", "vmId", vm.id)) {
      for (const path of [...snapshot.disks.map((disk) => disk.path), snapshot.memoryPath])
        if (path) add(vm.hostId, path);
    }
  }
  // Layers that libvirt does not tell of, of a VM that is off: the files themselves name the ones below.
  for (let before = -1; before < known.size;) {
    before = known.size;
    for (const volume of inventory.list("volume")) {
      if (volume.backingPath !== undefined && known.has(nameOf(volume.hostId, volume.path))) {
        add(volume.hostId, volume.backingPath);
      }
    }
  }
  const domains = state.domains.map((line) => /^\S+: \S+/.exec(line)?.[0] ?? line);
  return [
    ...state.files.filter((file) => !known.has(file)).map((file) => `file ${file}`),
    ...domains.filter((domain) => !documents.has(domain)).map((domain) => `domain ${domain}`),
    ...[...documents].filter((document) => !domains.includes(document)).map((document) => `document ${document}`),
    ...inventory
      .list("snapshot")
      .filter((snapshot) => inventory.get("vm", snapshot.vmId) === undefined)
      .map((snapshot) => `snapshot ${snapshot.name}`),
  ];
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "");
}
