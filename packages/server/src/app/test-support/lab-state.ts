/** What is on a lab's hosts, seen without Innkeeper: through virsh, the file system and the processes. */
import type { LabHost } from "@innkeeper/lab/host.ts";
import type { Lab } from "@innkeeper/lab/lab.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { readRetained } from "#management/snapshot/snapshot-record.ts";
import type { Store } from "#store/port.ts";

export const localFolder = "/var/lib/libvirt/images";
/**
 * Firmware variables, saved memory, metadata of snapshots and checkpoints, dumps, TPMs: by VM name, TPMs by UUID
 * (https://libvirt.org/drvqemu.html, "Location of configuration files"; libvirt 9.0 src/qemu/qemu_conf.c).
 */
const keptFolders = [
  ...["nvram", "save", "snapshot", "checkpoint", "dump"].map((each) => `/var/lib/libvirt/qemu/${each}`),
  "/var/lib/libvirt/swtpm",
];
/** Domains, networks and pools, and links to those that start with the host (libvirt 9.0 src/conf/virdomainobjlist.c). */
const definitionFolders = ["/etc/libvirt/qemu", "/etc/libvirt/storage"];

/** Each a sorted list, each line with its host: `h1: …`. */
export interface LabState {
  /** `h1: web1 running` */
  readonly domains: readonly string[];
  /** Of the hosts' pools: `h1:/var/lib/…`, `shared:/…` */
  readonly files: readonly string[];
  /** What libvirt keeps of VMs beside their disks: `h1:/var/lib/libvirt/qemu/nvram/…` */
  readonly kept: readonly string[];
  /** `h1:/etc/libvirt/qemu/web1.xml`, `h1:/etc/libvirt/qemu/autostart/web1.xml` */
  readonly definitions: readonly string[];
  /** Pools and networks, whether they are active, start with the host, and (networks) last: `h1: pool local active yes` */
  readonly objects: readonly string[];
  /** Guests that a QEMU runs, or prepares to: `h1: web1` */
  readonly processes: readonly string[];
}

export async function labState(lab: Lab): Promise<LabState> {
  const found = await Promise.all(lab.hosts.map((host, index) => hostState(host, index === 0 ? lab.sharedFolder : "")));
  const all = (part: keyof LabState): string[] => found.flatMap((each) => each[part]).toSorted();
  return mapParts(all);
}

export function mapParts(of: (part: keyof LabState) => readonly string[]): LabState {
  return {
    domains: of("domains"),
    files: of("files"),
    kept: of("kept"),
    definitions: of("definitions"),
    objects: of("objects"),
    processes: of("processes"),
  };
}

/** In one call of the host, its answers parted by ==, after which virsh begins no line. A `sharedFolder` counts as nobody's. */
async function hostState(host: LabHost, sharedFolder: string): Promise<LabState> {
  const script = `seen=$(virsh -q 'list --all; echo ==; pool-list --all; echo ==; net-list --all') || exit 1
    echo "$seen"; echo ==; find ${localFolder} ${sharedFolder} -type f
    echo ==; for each in ${keptFolders.join(" ")}; do test ! -d $each || find $each -type f; done
    echo ==; find ${definitionFolders.join(" ")} -type f -o -type l
    echo ==; grep -aoh 'gues[t]=[^,]*' /proc/[0-9]*/cmdline 2>/dev/null; true`;
  const { stdout } = await host.exec(["sh", "-c", script]);
  const parts = stdout.split(/^== */m).map((part) => part.split("\n").filter((line) => line.trim() !== ""));
  const [domains = [], pools = [], networks = [], files = [], kept = [], definitions = [], processes = []] = parts;
  const at = (file: string): string => `${host.name}:${file}`;
  return {
    domains: domains.map((line) => `${host.name}: ${words(line).replace(/^\S+ /, "")}`),
    files: files.map((file) =>
      file.startsWith(`${sharedFolder}/`) && sharedFolder !== "" ? `shared:${file}` : at(file),
    ),
    kept: kept.map(at),
    definitions: definitions.map(at),
    objects: [
      ...pools.map((line) => `${host.name}: pool ${words(line)}`),
      ...networks.map((line) => `${host.name}: network ${words(line)}`),
    ],
    processes: processes.map((line) => `${host.name}: ${line.replace("guest=", "")}`),
  };
}

/**
 * Files, domains and processes that nothing in the inventory accounts for, documents of VMs that no host has, and domains
 * that are said to run without a process.
 */
export async function orphans(lab: Lab, state: LabState, inventory: Inventory, store: Store): Promise<string[]> {
  const known = new Set<string>();
  const nameOf = (hostId: string, path: string): string =>
    path.startsWith(`${lab.sharedFolder}/`) ? `shared:${path}` : `${inventory.require("host", hostId).name}:${path}`;
  const add = (hostId: string, path: string): void => void known.add(nameOf(hostId, path));
  for (const image of inventory.list("image")) add(image.hostId, image.path);
  const documents = new Set<string>();
  const owns: ((kept: string) => boolean)[] = [];
  for (const vm of inventory.list("vm")) {
    const { name: hostName } = inventory.require("host", vm.hostId);
    documents.add(`${hostName}: ${vm.name}`);
    owns.push((kept) => kept.startsWith(`${hostName}:`) && isOf(vm, kept));
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
  const domains = state.domains.map(nameOfDomain);
  const active = state.domains.filter((line) => !/ (shut off|crashed)$/.test(line)).map(nameOfDomain);
  return [
    ...state.files.filter((file) => !known.has(file)).map((file) => `file ${file}`),
    ...state.kept.filter((file) => !owns.some((isOwn) => isOwn(file))).map((file) => `file ${file}`),
    ...state.processes.filter((each) => !active.includes(each)).map((each) => `process ${each}`),
    ...active.filter((each) => !state.processes.includes(each)).map((each) => `no process ${each}`),
    ...domains.filter((domain) => !documents.has(domain)).map((domain) => `domain ${domain}`),
    ...[...documents].filter((document) => !domains.includes(document)).map((document) => `document ${document}`),
    ...inventory
      .list("snapshot")
      .filter((snapshot) => inventory.get("vm", snapshot.vmId) === undefined)
      .map((snapshot) => `snapshot ${snapshot.name}`),
  ];
}

/** With one space between columns. */
function words(line: string): string {
  return line.trim().split(/\s+/).join(" ");
}

/** `h1: web1` of `h1: web1 shut off`. */
function nameOfDomain(line: string): string {
  return /^\S+: \S+/.exec(line)?.[0] ?? line;
}

/** libvirt names what it keeps `web1_VARS.fd`, `web1.save`, `web1/snapshot.xml`, `<uuid>/tpm2/…`. */
function isOf({ name, uuid }: Vm, kept: string): boolean {
  return kept
    .split("/")
    .slice(5)
    .some((part) => [name, uuid].includes(part) || part.startsWith(`${name}_`) || part.startsWith(`${name}.`));
}
