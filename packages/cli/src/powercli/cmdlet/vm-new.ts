/**
 * New-VM: a VM with new disks, from an image, or as a clone of another VM or of a template. What is not said is as New-VM has
 * it: one vCPU, 256 MB, one disk of 4 GB, no network card.
 */
import type { VmClone, VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import { bytesPerGiB } from "@innkeeper/contract/unit.ts";
import { tableError, usageError, valueError } from "#cli-error.ts";
import { find } from "#lookup.ts";
import { anyOf, given } from "#option/given.ts";
import type { Cmdlet } from "#powercli/cmdlet.ts";
import { runAsync, type Parameter } from "#powercli/signature.ts";
import type { CmdletRun } from "#powercli/cmdlet-run.ts";
import { showVm } from "#powercli/cmdlet/vm-show.ts";
import { cpuOf, diskBytes, fieldOfSize, memoryMiB, sizeParameters } from "#powercli/hardware.ts";
import { hostIdsOf, onePlace } from "#powercli/place.ts";
import { select } from "#powercli/select.ts";
import { datastoreOf, filePath } from "#powercli/storage.ts";

type Disk = NonNullable<VmCreate["disks"]>[number];

const defaultMemoryMiB = 256;
const defaultDiskBytes = 4 * bytesPerGiB;

export const storageFormats = ["Thin", "Thick", "EagerZeroedThick"] as const;
export const noPolicies = "there are no storage policies";
export const ofClusters = "clusters have no DRS and no HA yet";
const encryption = "encryption of disks is set up on the host: see libvirt's volume secrets";

const parameters: readonly Parameter[] = [
  { name: "Name", required: true, help: "what to call it" },
  { name: "VMHost", position: 0, noun: "host", help: "on which host (default: where it fits best)" },
  { name: "ResourcePool", noun: "cluster", help: "a cluster: one of its hosts; or a host, or Resources: any host" },
  { name: "Location", help: "the folder that it is shown in, one that has VMs" },
  { name: "Datastore", noun: "pool", help: "where its disks go (default: the roomiest of the host)" },
  ...sizeParameters,
  { name: "DiskGB", type: "decimal", list: true, help: "new disks of these sizes" },
  { name: "DiskMB", type: "decimal", list: true, help: "the same in MB" },
  { name: "DiskPath", list: true, help: "disks that exist: [datastore] name, or a path of the host" },
  {
    name: "DiskStorageFormat",
    words: storageFormats,
    help: "Thin: grows as it is written (default); Thick and EagerZeroedThick: takes all of its space at once",
  },
  { name: "NetworkName", list: true, noun: "network", help: "a network card for each of these networks" },
  { name: "Portgroup", list: true, noun: "network", help: "the same as NetworkName" },
  { name: "CD", type: "switch", help: "an empty CD drive" },
  { name: "Floppy", type: "switch", help: "an empty floppy drive" },
  { name: "GuestId", help: "taken and not used: hardware does not depend on it" },
  { name: "AlternateGuestName", help: "as GuestId" },
  { name: "Notes", aliases: ["Description"], help: "its description" },
  { name: "ContentLibraryItem", noun: "image", help: "an image that the first disk is made from" },
  { name: "Template", noun: "vm", help: "a template to clone" },
  { name: "VM", noun: "vm", help: "a VM to clone" },
  { name: "LinkedClone", type: "switch", help: "a clone on top of the source's disks" },
  { name: "ReferenceSnapshot", noun: "snapshot", help: "the snapshot that is cloned" },
  runAsync,
];

export const newVm: Cmdlet = {
  name: "New-VM",
  summary: "Create a VM: with new disks, from an image, or as a clone.",
  operations: ["vmCreate", "vmClone"],
  impact: "changes",
  parameters,
  refused: {
    OSCustomizationSpec: "prepare the guest with cloud-init in its image",
    VMFilePath: "a domain that a host has is adopted by itself; define it with virsh",
    VApp: "there are no vApps",
    Version: "the machine type is set with `inn vm create --machine`",
    HardwareVersion: "the machine type is set with `inn vm create --machine`",
    AdvancedOption: ofClusters,
    DrsAutomationLevel: ofClusters,
    HAIsolationResponse: ofClusters,
    HARestartPriority: ofClusters,
    VMSwapfilePolicy: "swap is the host's own",
    StoragePolicy: noPolicies,
    SkipHardDisks: noPolicies,
    ReplicationGroup: noPolicies,
    StoragePolicyTarget: noPolicies,
    KeyProvider: encryption,
    MigrationEncryption: "migrations are encrypted when the host is reached by TLS",
    CpuHotAddEnabled: "say up to how many vCPUs: `inn vm create --vcpus-max`",
    CpuHotRemoveEnabled: "say up to how many vCPUs: `inn vm create --vcpus-max`",
    MemoryHotAddEnabled: "memory changes by its balloon: `inn vm set --balloon`",
    OvfConfiguration: "there are no OVF packages; -ContentLibraryItem takes an image",
    InventoryLocation: "use -Location",
  },
  examples: [
    "New-VM -Name web -ResourcePool Resources -Datastore default",
    "New-VM -Name web1 -ResourcePool production -Location Production/Web",
    "New-VM -Name db -VMHost kvm1 -NumCpu 4 -MemoryGB 16 -DiskGB 40,500 -Datastore fast -NetworkName default",
    "New-VM -Name web2 -ContentLibraryItem debian-12 -DiskGB 20 -MemoryGB 2 -NetworkName default",
    "New-VM -Name web3 -Template golden",
    "New-VM -Name test1 -VM web -LinkedClone -ReferenceSnapshot clean",
  ],
  parameterOfField: {
    ...fieldOfSize,
    name: "Name",
    description: "Notes",
    host: "VMHost",
    cluster: "ResourcePool",
    folder: "Location",
    "disks.image": "ContentLibraryItem",
    "disks.path": "DiskPath",
    "disks.pool": "Datastore",
    "disks.capacityBytes": "DiskGB",
    "disks.preallocate": "DiskStorageFormat",
    nics: "NetworkName",
    snapshot: "ReferenceSnapshot",
    pool: "Datastore",
  },
  run: async (run) => {
    const { bound } = run;
    const name = bound.text("Name") ?? "";
    if (bound.has("GuestId") || bound.has("AlternateGuestName")) {
      run.warn("-GuestId has no effect: Innkeeper's hardware fits all guests alike.");
    }
    const isClone = bound.has("VM") || bound.has("Template");
    const start = isClone ? await cloneOf(run, name) : await creationOf(run, name);
    await run.perform([{ action: "New-VM", target: name, start, done: async (task) => await showMade(run, task) }]);
  },
};

/** The task's result names what it made. */
async function showMade(run: CmdletRun, task: Task): Promise<void> {
  const id = task.result?.["vmId"];
  const name = run.bound.text("Name") ?? "";
  const vm = typeof id === "string" ? await find(run.api, "vm", id) : await find(run.api, "vm", name);
  await showVm(run, vm.id);
}

async function creationOf(run: CmdletRun, name: string): Promise<() => Promise<Task>> {
  const { api, bound } = run;
  for (const parameter of ["LinkedClone", "ReferenceSnapshot"]) {
    if (bound.has(parameter)) throw usageError(`-${parameter} is for a clone`, "Name the source with -VM.");
  }
  const datastore = bound.text("Datastore");
  const stored = datastore === undefined ? undefined : await datastoreOf(api, datastore, "-Datastore");
  const { host, cluster, folder } = await placesOf(run);
  // A datastore that one host alone has says where.
  const only = stored?.pools.length === 1 && stored.pools[0]?.shared === false ? stored.pools[0].hostId : undefined;
  const hostId = host?.id ?? only;
  const cpu = cpuOf(bound);
  const body: VmCreate = {
    name,
    memory: { sizeMiB: memoryMiB(bound) ?? defaultMemoryMiB },
    cpu: { ...cpu, count: cpu.count ?? 1 },
    ...given({
      host: hostId,
      cluster: cluster?.id,
      folder: folder?.id,
      description: bound.text("Notes"),
      disks: anyOf(await disksOf(run, stored?.name, hostId)),
      nics: anyOf([...bound.texts("NetworkName"), ...bound.texts("Portgroup")].map((network) => ({ network }))),
    }),
  };
  return async () => await api.call("vmCreate", { body });
}

async function placesOf({ api, bound }: CmdletRun): ReturnType<typeof onePlace> {
  return await onePlace(api, [
    { parameter: "-VMHost", text: bound.text("VMHost") },
    { parameter: "-ResourcePool", text: bound.text("ResourcePool") },
    { parameter: "-Location", text: bound.text("Location"), nouns: ["host", "cluster", "folder"] },
  ]);
}

async function disksOf({ api, bound }: CmdletRun, pool: string | undefined, hostId?: string): Promise<Disk[]> {
  const sizes = diskBytes(bound);
  const paths = await Promise.all(
    bound.texts("DiskPath").map(async (text) => await filePath(api, text, "-DiskPath", hostId)),
  );
  const image = bound.text("ContentLibraryItem");
  const form = { ...given({ pool }), ...storageFormat(bound.text("DiskStorageFormat")) };
  if (image !== undefined && form.preallocate === true) {
    throw valueError("-DiskStorageFormat", "a disk from an image is as large as what the image holds: Thin");
  }
  const [first, ...others] = sizes;
  const fromImage: Disk[] =
    image === undefined ? [] : [{ image: await imageName(api, image), ...given({ pool, capacityBytes: first }) }];
  const fresh = image === undefined ? sizes : others;
  const isBare = fresh.length === 0 && paths.length === 0 && image === undefined;
  return [
    ...fromImage,
    ...(isBare ? [defaultDiskBytes] : fresh).map((capacityBytes): Disk => ({ capacityBytes, ...form })),
    ...paths.map((path): Disk => ({ path })),
    ...(bound.flag("CD") === true ? [{ device: "cdrom" } satisfies Disk] : []),
    ...(bound.flag("Floppy") === true ? [{ device: "floppy" } satisfies Disk] : []),
  ];
}

async function imageName(api: CmdletRun["api"], text: string): Promise<string> {
  const [image] = await select(api, "image", [{ text, literal: false }], { parameter: "-ContentLibraryItem" });
  return image?.id ?? text;
}

/** How a new disk takes its space: thick ones are raw, and all of it is taken when they are made. */
export function storageFormat(format: string | undefined): Pick<Disk, "format" | "preallocate"> {
  return format === undefined || format === "Thin" ? {} : { format: "raw", preallocate: true };
}

const cloneKeeps =
  "The clone has the source's hardware; change it afterwards with Set-VM, Set-HardDisk and Set-NetworkAdapter.";

async function cloneOf(run: CmdletRun, name: string): Promise<() => Promise<Task>> {
  const { api, bound } = run;
  const parameter = bound.has("VM") ? "VM" : "Template";
  if (bound.has("VM") && bound.has("Template")) throw usageError("-VM and -Template exclude one another");
  for (const other of [
    ...sizeParameters.map(({ name }) => name),
    "DiskGB",
    "DiskMB",
    "DiskPath",
    "DiskStorageFormat",
  ]) {
    if (bound.has(other)) throw usageError(`-${other} does not go with -${parameter}`, cloneKeeps);
  }
  for (const other of ["NetworkName", "Portgroup", "CD", "Floppy", "ContentLibraryItem"]) {
    if (bound.has(other)) throw usageError(`-${other} does not go with -${parameter}`, cloneKeeps);
  }
  const [source, ...others] = await select(api, "vm", [{ text: bound.text(parameter) ?? "", literal: false }], {
    parameter: `-${parameter}`,
  });
  if (source === undefined || others.length > 0) throw valueError(`-${parameter}`, "it means several VMs");
  if (parameter === "Template" && !source.template) {
    throw valueError("-Template", `${source.name} is no template`, "Use -VM, or make it one: Set-VM -ToTemplate.");
  }
  const { host, cluster, folder } = await placesOf(run);
  for (const place of [host, cluster]) {
    if (place === undefined || (await hostIdsOf(api, [place]))?.has(source.hostId) === true) continue;
    const where = place.noun === "host" ? `not ${place.name}` : `not in cluster ${place.name}`;
    throw tableError("unsupported", `a clone is made on its source's host, which is ${where}`, {
      field: place === host && bound.has("VMHost") ? "-VMHost" : "-ResourcePool",
      remedy: `Clone it without naming a place, then: inn Move-VM ${name} ${place.noun === "host" ? place.name : "HOST"}`,
    });
  }
  const linked = bound.flag("LinkedClone");
  const snapshot = bound.text("ReferenceSnapshot");
  if (linked === true && snapshot === undefined) {
    throw usageError("-LinkedClone needs -ReferenceSnapshot", "Take one: inn New-Snapshot -VM … -Name …");
  }
  const datastore = bound.text("Datastore");
  const pool = datastore === undefined ? undefined : (await datastoreOf(api, datastore, "-Datastore")).name;
  const [chosen] =
    snapshot === undefined
      ? []
      : await select(api, "snapshot", [{ text: snapshot, literal: false }], {
          parameter: "-ReferenceSnapshot",
          vmId: source.id,
        });
  const body: VmClone = {
    name,
    ...given({ linked, snapshot: chosen?.id, pool, description: bound.text("Notes"), folder: folder?.id }),
  };
  return async () => await api.call("vmClone", { parameters: { vmId: source.id }, body });
}
