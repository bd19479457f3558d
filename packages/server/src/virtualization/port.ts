/**
 * Virtualization: guests of one host, by libvirt's UUID. `capability` says which abilities a driver has. Methods throw AppError
 * only: not_found, name_taken, invalid_state, invalid_field, unsupported, host_unreachable, host_failed, disk_full, timeout.
 */
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import type { GuestAddress, VmGuest, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import type { VmCpuChange, VmDisk, VmNic, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import type { VmState } from "@innkeeper/contract/state/vm.ts";
import type { ByteChannel } from "#core/byte-channel.ts";
import type { Call, LongCall } from "#core/call.ts";

/** Innkeeper's own facts, kept in the domain's <metadata> so that `recover` can rebuild the store. No folder: empty. */
export interface GuestMetadata {
  readonly vmId: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly folder: string;
  readonly template: boolean;
  readonly createdAt: string;
  /** Snapshot tree, as the management layer keeps it; JSON-safe. */
  readonly snapshots: readonly unknown[];
  readonly currentSnapshotId: string | null;
  /** Of the task that wrote the definition, until the metadata is written again. */
  readonly taskId?: string;
}

/** A snapshot in libvirt's own keeping, made by virsh or the like. Its name is its identity within the guest. */
export interface ForeignSnapshot extends Pick<
  Snapshot,
  "name" | "description" | "vmState" | "withMemory" | "memoryPath" | "disks" | "createdAt"
> {
  readonly parentName?: string;
  readonly current: boolean;
  /** Of files beside the disks (overlays, saved memory), at least in part; else within the disks. */
  readonly external: boolean;
}

/** A guest as its host has it. */
export interface Guest {
  readonly uuid: string;
  readonly name: string;
  readonly state: VmState;
  readonly stateDetail: string;
  readonly persistent: boolean;
  readonly autostart: boolean;
  /** Of the running guest if it runs, else of the next start. */
  readonly spec: VmSpec;
  /** Dotted paths of spec in which the next start differs from now. */
  readonly pendingChanges: readonly string[];
  readonly guestAgentConnected: boolean;
  readonly metadata: GuestMetadata | undefined;
  /** <title>/<description> of a domain that is not ours. */
  readonly description: string;
  /** Snapshots in libvirt's own keeping, oldest first. */
  readonly foreignSnapshotCount: number;
  readonly foreignSnapshots: readonly ForeignSnapshot[];
  /** It is off with its memory saved (virsh managedsave): the next start goes on from there, on the same disks. */
  readonly hasSavedMemory: boolean;
  /** Of the documents that it was read from: another one after any change of them. */
  readonly mark: string;
}

/** A guest whose documents have the mark that they had before: what they say is left out. */
export type UnchangedGuest = Omit<
  Guest,
  "spec" | "pendingChanges" | "guestAgentConnected" | "metadata" | "description"
> & { readonly spec?: undefined };

/** What to define: storage and network are resolved (paths exist, networks are the host's). */
export interface GuestDefinition {
  readonly uuid: string;
  readonly name: string;
  readonly spec: VmSpec;
  readonly metadata: GuestMetadata;
  /**
   * A client's domain document that the guest is defined from: of the spec only type, CPU, memory, disks and network
   * cards are put into it. Refused if it reaches out of the guest.
   */
  readonly document?: string;
}

type HardwareKey = "machine" | "firmware" | "tpm" | "serial" | "guestAgent" | "balloon" | "ioThreads" | "autostart";

/** A change of an existing guest; absent stays. Disks and NICs are resolved as in a definition. */
export interface GuestChange {
  readonly cpu?: VmCpuChange;
  readonly memory?: Partial<VmSpec["memory"]>;
  readonly disksAdd?: readonly VmDisk[];
  /** Domain XML: an added disk or NIC that it has (by target, by MAC) is taken from there as it is. */
  readonly devicesFrom?: string;
  readonly disksRemove?: readonly string[];
  readonly disksChange?: readonly {
    readonly target: string;
    /** Grows the disk of a running guest; of one that is off the storage layer grows the volume (else invalid_state). */
    readonly capacityBytes?: number;
    readonly ioLimit?: VmDisk["ioLimit"];
    readonly bootOrder?: number;
    /** Medium of a CD-ROM or floppy drive; null ejects. */
    readonly source?: string | null;
  }[];
  readonly nicsAdd?: readonly VmNic[];
  readonly nicsRemove?: readonly string[];
  readonly nicsChange?: readonly { readonly mac: string; readonly linkUp?: boolean; readonly network?: string }[];
  readonly hardware?: Partial<Pick<VmSpec, HardwareKey | "graphics" | "video">>;
  readonly metadata?: GuestMetadata;
}

export interface GuestChangeResult {
  /** Dotted paths that took effect at once. */
  readonly applied: readonly string[];
  /** Dotted paths that wait for the next start. */
  readonly pending: readonly string[];
}

export interface GuestInventory {
  list(call: Call): Promise<readonly Guest[]>;
  read(uuid: string, call: Call): Promise<Guest>;
  /** As `list`, for a fraction of the cost where nothing changed; `marks`: by UUID, of those that are known. */
  listChanged(marks: ReadonlyMap<string, string>, call: Call): Promise<readonly (Guest | UnchangedGuest)[]>;
  readChanged(uuid: string, mark: string | undefined, call: Call): Promise<Guest | UnchangedGuest>;
  /** Domain XML without secrets. */
  xml(uuid: string, options: { readonly inactive: boolean }, call: Call): Promise<string>;
  /** DHCP leases, ARP, and the agent's if it is there, merged; the best source wins. ~1 s at most for a silent agent. */
  addresses(uuid: string, guest: { readonly agentConnected: boolean }, call: Call): Promise<readonly GuestAddress[]>;
  statistics(uuids: readonly string[] | undefined, call: Call): Promise<ReadonlyMap<string, VmStatistics>>;
}

export interface GuestLifecycle {
  /** Checks a definition without touching anything (host capabilities, libvirt's own rules). */
  check(definition: GuestDefinition, call: Call): Promise<void>;
  /** The document that `define` would give to the host; touches nothing. */
  render(definition: GuestDefinition, call: Call): Promise<string>;
  /** Makes a new persistent guest, or, if this uuid is this VM's already, replaces its definition. name_taken if another has the name. */
  define(definition: GuestDefinition, call: Call): Promise<Guest>;
  /** Defines from complete XML (a snapshot's, a migration's) after edits by `disks`: target → new source. Backing stores are dropped. */
  defineXml(
    xml: string,
    edits: {
      readonly name?: string;
      readonly uuid?: string;
      readonly disks?: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
      readonly newMacs?: boolean;
      readonly metadata?: GuestMetadata;
      /** UUID of the guest whose console passwords the XML gets where it has none; default: the guest that it replaces. */
      readonly secretsOf?: string;
    },
    call: Call,
  ): Promise<Guest>;
  /**
   * Defines a client's edit of `from` (of `xml`, inactive), or without metadata only checks it. unsupported: it reaches out
   * of the guest where `from` does not. Answers what it says; `changed` are dotted paths of spec.
   */
  edit(
    uuid: string,
    edit: { readonly from: string; readonly document: string; readonly metadata?: GuestMetadata },
    call: Call,
  ): Promise<{ readonly spec: VmSpec; readonly changed: readonly string[]; readonly description: string }>;
  /**
   * Changes the definition, and the running guest where that can be done live. After an error all is as before, or the
   * error names what is not. conflict: someone else changed the guest at the same moment. `defined` is told the new
   * definition as `xml` shows it, before the running guest is changed.
   */
  change(
    uuid: string,
    change: GuestChange,
    call: Call,
    defined?: (xml: string) => Promise<void>,
  ): Promise<GuestChangeResult>;
  rename(uuid: string, name: string, call: Call): Promise<void>;
  /** Forgets the guest with its NVRAM, TPM state, and managed save; disks stay. Idempotent: gone is fine. */
  undefine(uuid: string, call: Call): Promise<void>;
  start(uuid: string, options: { readonly paused?: boolean }, call: Call): Promise<void>;
  /** Asks the guest (agent, else ACPI); returns when it was asked. */
  shutdown(uuid: string, call: Call): Promise<void>;
  /** Idempotent: a guest that is off is fine. */
  forceOff(uuid: string, call: Call): Promise<void>;
  reboot(uuid: string, call: Call): Promise<void>;
  reset(uuid: string, call: Call): Promise<void>;
  suspend(uuid: string, call: Call): Promise<void>;
  resume(uuid: string, call: Call): Promise<void>;
}

/** External snapshots without libvirt's metadata, whose tree is management's; and those that others made, which are libvirt's. */
export interface GuestSnapshot {
  /** host_failed or unsupported if this libvirt can't; then nothing was touched. The guest is then off, paused or running as the snapshot says. */
  revertForeign(uuid: string, name: string, call: Call): Promise<void>;
  /** As revertForeign. Idempotent: gone is fine. The guest's present state stays. */
  deleteForeign(uuid: string, name: string, options: { readonly children: boolean }, call: Call): Promise<void>;
  /**
   * Freezes the disks' present layers: from now on the guest writes to the overlays (target → path of a new qcow2 file).
   * With `memoryPath`, the memory of a running guest is saved at the same instant. Atomic over all disks. Works on a
   * guest that is off. Idempotent: when the overlays are the disks' present layers it was done. conflict, with nothing
   * touched, when other layers than `layers` are present; invalid_state when there is no memory to save.
   */
  freeze(
    uuid: string,
    options: {
      readonly overlays: ReadonlyMap<string, string>;
      /** Present layers by target, as the caller knows them; default: whatever they are. */
      readonly layers?: ReadonlyMap<string, string>;
      /** All overlays are there already, empty and on the present layers (block devices); default: the host makes them. */
      readonly overlaysExist?: boolean;
      readonly memoryPath?: string;
      /** File systems are frozen by the guest agent; not together with memory. */
      readonly quiesce: boolean;
    },
    call: LongCall,
  ): Promise<void>;
  /** Starts the guest from saved memory on other disk layers. `paused` leaves it paused. The persistent definition is not touched. */
  restoreMemory(
    memoryPath: string,
    options: {
      readonly disks: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
      readonly paused: boolean;
    },
    call: Call,
  ): Promise<void>;
  /**
   * Merges the layer `topPath` of a disk into the one below and drops it from the chain. The active layer pivots. Works
   * on a guest that runs or is paused; the file of a dropped layer is left for the storage layer to delete.
   * Idempotent: a job that already runs is joined, a layer that is already gone is fine.
   */
  mergeDown(
    uuid: string,
    options: { readonly target: string; readonly topPath: string; readonly basePath: string },
    call: LongCall,
  ): Promise<void>;
  /** Layers of each disk as the hypervisor sees them, top first. */
  chains(uuid: string, call: Call): Promise<ReadonlyMap<string, readonly string[]>>;
}

export interface MigrationOptions {
  /** libvirt URI by which the source's daemon reaches the target's. */
  readonly targetUri: string;
  readonly bandwidthMiBps?: number;
  readonly maxDowntimeMs?: number;
  /** Targets of disks to copy; empty when all disks are on shared storage. */
  readonly copyDisks: readonly string[];
  readonly postCopy: boolean;
  readonly autoConverge: boolean;
  /** Memory and disks travel over TLS, with the hosts' own certificates (QEMU's x509 folder); else in clear. */
  readonly encrypt: boolean;
}

export interface MigrationResult {
  readonly totalMs: number;
  readonly downtimeMs: number;
  readonly transferredBytes: number;
}

/** A device that is tied to its host, by what ties it; `device` as people find it in the XML: address, path, name. */
export interface TiedDevice {
  readonly kind:
    | "host-device"
    | "failover-device"
    | "vdpa"
    | "vhost-user"
    | "virtiofs"
    | "folder"
    | "shared-memory"
    | "persistent-memory"
    | "encrypted-memory"
    | "character-device"
    | "lun"
    | "transient-disk"
    | "invariant-tsc";
  readonly device: string;
}

/** A secret of libvirt's that a guest names: by UUID, or by what it is for. */
export interface SecretReference {
  readonly device: string;
  readonly uuid?: string;
  readonly usageType?: string;
  readonly usageId?: string;
}

/** What of a guest decides to which hosts it can go; of the running guest if it runs, else of its next start. */
export interface MigrationTraits {
  /** Domain XML as the target's daemon would get it; may hold console passwords: never stored, never logged. */
  readonly xml: string;
  /** What its host calls the job that works on it. */
  readonly job: string | undefined;
  /** Targets of disks with a block job. */
  readonly blockJobs: readonly string[];
  readonly checkpointCount: number;
  readonly devices: readonly TiedDevice[];
  readonly secrets: readonly SecretReference[];
  /** Bridges and devices of its host that network cards attach to without a libvirt network. */
  readonly interfaces: readonly { readonly mac: string; readonly name: string; readonly isBridge: boolean }[];
  readonly loader: string | undefined;
  /** Firmware variables outside of libvirt's own folder. */
  readonly ownNvram: string | undefined;
  readonly tpm: "none" | "emulator" | "passthrough" | "external";
  /** `custom`: a named model with features; else libvirt's mode. undefined: the hypervisor's default. */
  readonly cpuMode: string | undefined;
  /** Its host's own CPU, for guests that are given it as it is. */
  readonly hostCpuXml: string | undefined;
  /** Nodes that its memory must come from. */
  readonly strictNodes: readonly number[];
  /** Files that its host keeps, or may keep, beside the definition (see GuestStateFile). */
  readonly stateFiles: readonly string[];
}

export interface CpuComparison {
  /** `unknown`: this host can't compare (emulation, other architectures); `detail`: in its words, which features lack. */
  readonly result: "identical" | "superset" | "incompatible" | "unknown";
  readonly detail: string;
}

/** What a host offers to a guest that would come. */
export interface MigrationReception {
  /** Why the host can't run this domain type, architecture and machine; undefined if it can. */
  readonly machineProblem: string | undefined;
  readonly vcpuMax: number | undefined;
  readonly cpu: CpuComparison;
  /** Firmware images that exist there; undefined: the host does not say. */
  readonly loaders: readonly string[] | undefined;
  readonly tpm: boolean | undefined;
  /** Why the host's libvirt refuses the definition as a whole; undefined if it takes it. */
  readonly definitionProblem: string | undefined;
  readonly guests: readonly { readonly name: string; readonly uuid: string }[];
  /** Bridges, and network interfaces that are in none; undefined: the host does not list them. */
  readonly interfaces: readonly string[] | undefined;
  readonly secrets: readonly Required<Omit<SecretReference, "device">>[] | undefined;
  readonly cpus: readonly number[];
  readonly nodes: readonly { readonly id: number; readonly freeMiB: number }[];
  /** Huge pages, of all nodes together. */
  readonly pages: readonly { readonly sizeKiB: number; readonly free: number }[];
  /** Whether the migration ports let a connection through, as seen from the control plane. */
  readonly port: { readonly number: number; readonly state: "open" | "filtered" | "unknown" };
}

/** Whether one host's daemon reaches another's, in its words. `refused`: it lets this guest not go, whatever the target. */
export interface MigrationContact {
  readonly result: "reached" | "name-unknown" | "no-answer" | "login-needed" | "untrusted" | "unreachable" | "refused";
  readonly detail: string;
}

/** A file that a host keeps of a guest beside its definition: firmware variables, state of an emulated TPM. */
export interface GuestStateFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface GuestMigration {
  traits(uuid: string, call: Call): Promise<MigrationTraits>;
  reception(traits: Pick<MigrationTraits, "xml" | "hostCpuXml">, call: Call): Promise<MigrationReception>;
  /** Opens the connection that a migration would open, from this host, and closes it. Nothing moves, the guest runs on. */
  contact(uuid: string, options: Pick<MigrationOptions, "targetUri">, call: Call): Promise<MigrationContact>;
  /** Live, peer to peer, persistent on the target, undefined on the source. After an error the guest runs on the source, untouched. */
  migrateLive(uuid: string, options: MigrationOptions, call: LongCall): Promise<MigrationResult>;
  /** Of a guest that is off; empty if it never ran, or has neither UEFI nor a TPM. */
  readState(uuid: string, call: Call): Promise<readonly GuestStateFile[]>;
  /** Puts such files to where this host's libvirt looks for them, in place of any that are there. conflict if it has the guest. */
  writeState(uuid: string, files: readonly GuestStateFile[], call: Call): Promise<void>;
  /** Fine if there are none; conflict if this host has the guest. */
  deleteState(guest: { readonly uuid: string; readonly paths: readonly string[] }, call: Call): Promise<void>;
  /** Whether it starts with the host. Nothing else of the definition is touched, and libvirt does not migrate it. */
  setAutostart(uuid: string, autostart: boolean, call: Call): Promise<void>;
  /** Moves the definition of a stopped guest, and nothing that its host keeps beside it (see readState). */
  migrateOffline(uuid: string, options: Pick<MigrationOptions, "targetUri">, call: Call): Promise<void>;
  /** Whether a long job (a migration, a snapshot with memory, a save) works on it. False for a guest that is off or gone. */
  isBusy(uuid: string, call: Call): Promise<boolean>;
  /** Cancels a migration that runs; fine if none does. */
  abortMigration(uuid: string, call: Call): Promise<void>;
}

export interface GuestConsole {
  /** `force` disconnects whoever holds it; without it conflict. */
  serial(uuid: string, options: { readonly force: boolean }, call: Call): Promise<ByteChannel>;
  /** Raw RFB. */
  vnc(uuid: string, call: Call): Promise<ByteChannel>;
  screenshot(uuid: string, call: Call): Promise<{ readonly contentType: string; readonly bytes: Uint8Array }>;
  /** guest_agent_unavailable if it does not answer within a few seconds. */
  agent(uuid: string, call: Call): Promise<VmGuest>;
}

/** Something about a guest changed: read it again (or it is gone). `type` e.g. started, stopped, defined, agent-connected, disk-changed. */
export interface GuestEvent {
  readonly uuid: string;
  readonly name: string;
  readonly type: string;
  readonly detail: string;
}

export interface GuestHypervisor {
  readonly inventory: GuestInventory;
  readonly lifecycle: GuestLifecycle;
  readonly snapshot: GuestSnapshot;
  readonly migration: GuestMigration;
  readonly console: GuestConsole;
  /** From the first `next()` on no event is lost; ends with an error when the connection is lost. */
  events(signal: AbortSignal): AsyncIterable<GuestEvent>;
  readonly capability: { readonly snapshot: boolean; readonly migration: boolean; readonly console: boolean };
}
