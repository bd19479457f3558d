/**
 * Everything that the checks of a migration judge, gathered once: from the inventory, and, where hosts are asked, from the
 * two hosts through their ports. Invariant: gathering changes nothing on either host.
 */
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { VmMigrationCheck } from "@innkeeper/contract/resource/migration.ts";
import type { Network } from "@innkeeper/contract/resource/network.ts";
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { VmDisk } from "@innkeeper/contract/resource/vm-spec.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { KeyedLock } from "#core/concurrency.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { hostUnfit, memoryFreeMiB } from "#management/placement/candidate.ts";
import type { Provider } from "#management/provider.ts";
import type { Providers } from "#management/providers.ts";
import { snapshotsOf } from "#management/snapshot/snapshot-record.ts";
import type {
  BootFile,
  MigrationContact,
  MigrationReception,
  MigrationTraits,
} from "#virtualization/migration/port.ts";
import type { Guest } from "#virtualization/port.ts";
import { migrationUri } from "./migration-uri.ts";
import { pathOn, poolOfPath } from "./storage-reach.ts";

export type MoveRequest = Omit<VmMigrationCheck, "host">;

/** One disk, and whether the target reaches it and all its layers under the same paths. */
export interface DiskFact {
  readonly disk: VmDisk;
  readonly shared: boolean;
  /** Another path under which the target reaches it. */
  readonly elsewhere: string | undefined;
  /** The target's pool at the disk's path. */
  readonly poolThere: StoragePool | undefined;
  readonly volume: Volume | undefined;
  readonly fileThere: boolean;
  /** What of it and its layers is allocated: at most so much is copied. */
  readonly copyBytes: number;
}

export interface MigrationFacts {
  readonly vm: Vm;
  readonly source: Host | undefined;
  readonly target: Host;
  readonly request: MoveRequest;
  readonly live: boolean;
  readonly disks: readonly DiskFact[];
  readonly snapshots: readonly { readonly name: string; readonly lostFiles: readonly string[] }[];
  /** VMs that the inventory has on the target. */
  readonly others: readonly Vm[];
  readonly networks: readonly Pick<Network, "name" | "active" | "forwardMode" | "bridge" | "addresses">[];
  readonly memoryFreeMiB: number;
  /** It is off with its memory saved. */
  readonly hasSavedMemory: boolean;
  readonly traits?: MigrationTraits;
  readonly reception?: MigrationReception;
  readonly contact?: MigrationContact;
  /** Boot files that are on no storage that both hosts share. */
  readonly ownBootFiles?: readonly (BootFile & { readonly fileThere: boolean })[];
  /** What the two ends of an encrypted migration lack. */
  readonly missingCertificates?: Readonly<Record<"source" | "target", readonly string[] | undefined>>;
  /** Why a host could not be asked. */
  readonly unasked?: AppError;
}

/** What the inventory knows, without a call. */
export function knownFacts(inventory: Inventory, vm: Vm, target: Host, request: MoveRequest): MigrationFacts {
  return {
    vm,
    source: inventory.get("host", vm.hostId),
    target,
    request,
    live: isActive(vm),
    disks: vm.spec.disks.map((disk) => diskFact(inventory, vm, target, disk)),
    snapshots: snapshotsOf(inventory, vm.id).map((snapshot) => ({
      name: snapshot.name,
      lostFiles: [
        ...snapshot.disks.map((disk) => disk.path),
        ...(snapshot.memoryPath ? [snapshot.memoryPath] : []),
      ].filter((path) => pathOn(inventory, vm.hostId, target.id, path) !== path),
    })),
    others: inventory.byHost("vm", target.id),
    networks: inventory.byHost("network", target.id),
    memoryFreeMiB: memoryFreeMiB(inventory, target),
    hasSavedMemory: false,
  };
}

function diskFact(inventory: Inventory, vm: Vm, target: Host, disk: VmDisk): DiskFact {
  const source = disk.source ?? "";
  const layers = [source, ...(disk.backingChain ?? [])];
  const volumes = inventory.byHost("volume", vm.hostId);
  const allocated = layers.map((path) => volumes.find((each) => each.path === path)?.allocationBytes ?? 0);
  return {
    disk,
    shared: isShared(inventory, vm, target.id, disk),
    elsewhere: pathOn(inventory, vm.hostId, target.id, source),
    poolThere: poolOfPath(inventory, target.id, source),
    volume: volumes.find((each) => each.path === source),
    fileThere: inventory.byHost("volume", target.id).some((each) => each.path === source),
    copyBytes: allocated.reduce((sum, bytes) => sum + bytes, 0),
  };
}

/** libvirt's types of disks whose source another host can reach; an empty drive has one of these, too. */
const reachableTypes: readonly string[] = ["file", "block", "dir", "volume", "network"];

/** A device or program of its host, which only looks as if it had a path (nvme, vhostuser, vhostvdpa). */
export function isHostsAlone({ sourceType }: VmDisk): boolean {
  return !reachableTypes.includes(sourceType);
}

/** Whether the target reaches the disk and all its layers under the same paths. */
export function isShared(inventory: Inventory, vm: Pick<Vm, "hostId">, targetId: string, disk: VmDisk): boolean {
  if (disk.sourceType === "network") return true;
  if (isHostsAlone(disk)) return false;
  if (disk.source === undefined) return true;
  return [disk.source, ...(disk.backingChain ?? [])].every(
    (path) => pathOn(inventory, vm.hostId, targetId, path) === path,
  );
}

export interface FactDeps {
  readonly inventory: Inventory;
  readonly providers: Providers;
}

/** The VM as its host tells now, and what ties it there; for any number of targets. */
interface Departure {
  readonly vm: Vm;
  readonly guest: Guest;
  readonly traits: MigrationTraits;
  readonly contacts: ContactQueue;
}

/** A host tries one target after the other for a VM. One that is silent keeps it occupied: then no other is tried. */
class ContactQueue {
  readonly #lock = new KeyedLock();
  #isOccupied = false;

  ask(try_: () => Promise<MigrationContact>): Promise<MigrationContact | undefined> {
    return this.#lock.run("", async () => {
      if (this.#isOccupied) return undefined;
      const contact = await try_();
      this.#isOccupied = contact.result === "no-answer";
      return contact;
    });
  }
}

export async function readDeparture(deps: FactDeps, vm: Vm, call: Call): Promise<Departure> {
  const { inventory, migration } = deps.providers.get(vm.hostId).guest;
  const [guest, traits] = await Promise.all([inventory.read(vm.uuid, call), migration.traits(vm.uuid, call)]);
  const { state, stateDetail, spec, foreignSnapshotCount, persistent } = guest;
  return {
    vm: { ...vm, state, stateDetail, spec, foreignSnapshotCount, persistent },
    guest,
    traits,
    contacts: new ContactQueue(),
  };
}

/** Both hosts asked. A target that no guest can go to is not asked; one that fails to answer is `unasked`. */
export async function askedFacts(
  deps: FactDeps,
  departure: Departure,
  target: Host,
  request: MoveRequest,
  call: Call,
): Promise<MigrationFacts> {
  const { vm, guest, traits } = departure;
  const known = knownFacts(deps.inventory, vm, target, request);
  const ownBootFiles = bootFilesOf(deps.inventory, vm, target.id, traits);
  const departed = { ...known, traits, hasSavedMemory: guest.hasSavedMemory, ownBootFiles };
  if (target.id === vm.hostId || hostUnfit(target) !== undefined) return departed;
  try {
    const [there, contact, missingCertificates] = await Promise.all([
      askTarget(deps.providers.get(target.id), traits, call),
      askContact(deps, departure, target, call),
      known.live && request.encrypt === true ? askCertificates(deps, vm, target, call) : undefined,
    ]);
    return {
      ...departed,
      ...there,
      ...(contact === undefined ? {} : { contact }),
      ...(missingCertificates === undefined ? {} : { missingCertificates }),
    };
  } catch (error) {
    if (call.signal.aborted || !(error instanceof AppError)) throw error;
    return { ...departed, unasked: error };
  }
}

function bootFilesOf(
  inventory: Inventory,
  vm: Vm,
  targetId: string,
  traits: MigrationTraits,
): NonNullable<MigrationFacts["ownBootFiles"]> {
  const there = inventory.byHost("volume", targetId);
  return traits.bootFiles
    .filter((file) => pathOn(inventory, vm.hostId, targetId, file.path) !== file.path)
    .map((file) => ({ ...file, fileThere: there.some((volume) => volume.path === file.path) }));
}

async function askCertificates(
  { providers }: FactDeps,
  vm: Vm,
  target: Host,
  call: Call,
): Promise<NonNullable<MigrationFacts["missingCertificates"]>> {
  const [ofSource, ofTarget] = await Promise.all([
    providers.get(vm.hostId).guest.migration.missingCertificates("client", call),
    providers.get(target.id).guest.migration.missingCertificates("server", call),
  ]);
  return { source: ofSource, target: ofTarget };
}

async function askTarget(
  { guest, network, link }: Provider,
  traits: MigrationTraits,
  call: Call,
): Promise<Pick<MigrationFacts, "reception" | "networks" | "memoryFreeMiB">> {
  const [reception, networks, usage] = await Promise.all([
    guest.migration.reception(traits, call),
    network.list(call),
    link.usage(call),
  ]);
  return { reception, networks, memoryFreeMiB: usage.memoryFreeMiB };
}

/** While another job works on it, its host would let it wait. */
async function askContact(
  deps: FactDeps,
  { vm, traits, contacts }: Departure,
  target: Host,
  call: Call,
): Promise<MigrationContact | undefined> {
  const targetUri = migrationUri(target);
  if (targetUri === undefined || traits.job !== undefined) return undefined;
  const { migration } = deps.providers.get(vm.hostId).guest;
  return await contacts.ask(() => migration.contact(vm.uuid, { targetUri }, call));
}
