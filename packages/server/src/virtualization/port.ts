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
import type { GuestMigration } from "./migration/port.ts";

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

/** What `defineXml` would make of complete XML under another UUID, or `rename` under its own. */
export interface GuestCopy {
  readonly xml: string;
  readonly uuid: string;
  readonly name: string;
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

/**
 * Told of a definition that is replaced as a whole, so that who does it knows his own work again; both without secrets.
 */
export interface DefinitionWitness {
  /** What the host is about to be given. */
  meant(xml: string): Promise<void>;
  /** What it made of that, as `xml` shows it. */
  defined(xml: string): Promise<void>;
}

export interface GuestInventory {
  list(call: Call): Promise<readonly Guest[]>;
  read(uuid: string, call: Call): Promise<Guest>;
  /** As `list`, for a fraction of the cost where nothing changed; `marks`: by UUID, of those that are known. */
  listChanged(marks: ReadonlyMap<string, string>, call: Call): Promise<readonly (Guest | UnchangedGuest)[]>;
  readChanged(uuid: string, mark: string | undefined, call: Call): Promise<Guest | UnchangedGuest>;
  /** Domain XML without secrets. */
  xml(uuid: string, options: { readonly inactive: boolean }, call: Call): Promise<string>;
  /** Whether the definition is what the host makes of `meant`, in the place of `before`: nobody has changed it since. */
  isOutcome(uuid: string, given: { readonly meant: string; readonly before: string }, call: Call): Promise<boolean>;
  /** DHCP leases, ARP, and the agent's if it is there, merged; the best source wins. ~1 s at most for a silent agent. */
  addresses(uuid: string, guest: { readonly agentConnected: boolean }, call: Call): Promise<readonly GuestAddress[]>;
  statistics(uuids: readonly string[] | undefined, call: Call): Promise<ReadonlyMap<string, VmStatistics>>;
}

export interface GuestLifecycle {
  /**
   * Checks a definition without touching anything (host capabilities, libvirt's own rules); of a copy only what follows
   * from its name. conflict: the host keeps firmware variables under that name, or a TPM's state under that UUID.
   */
  check(definition: GuestDefinition | GuestCopy, call: Call): Promise<void>;
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
    witness?: DefinitionWitness,
  ): Promise<Guest>;
  /**
   * Defines a client's edit of `from` (of `xml`, inactive), or without metadata only checks it. unsupported: it reaches out
   * of the guest where `from` does not. Answers what it says; `changed` are dotted paths of spec.
   */
  edit(
    uuid: string,
    edit: { readonly from: string; readonly document: string; readonly metadata?: GuestMetadata },
    call: Call,
    witness?: DefinitionWitness,
  ): Promise<{ readonly spec: VmSpec; readonly changed: readonly string[]; readonly description: string }>;
  /**
   * Changes the definition, and the running guest where that can be done live. After an error all is as before, or the
   * error names what is not. conflict: someone else changed the guest at the same moment. The witness is told before the
   * running guest is changed.
   */
  change(uuid: string, change: GuestChange, call: Call, witness?: DefinitionWitness): Promise<GuestChangeResult>;
  rename(uuid: string, name: string, call: Call): Promise<void>;
  /**
   * Forgets the guest with its managed save, NVRAM and TPM state; disks stay, and NVRAM that is another guest's, too, or not
   * in libvirt's own folder. `keepState`: NVRAM and TPM state stay in any case, and a guest with a managed save is refused.
   * Answers the files that stay, disks aside; `dryRun` does nothing else. Idempotent: gone is fine.
   */
  undefine(
    uuid: string,
    options: { readonly keepState?: boolean; readonly dryRun?: boolean },
    call: Call,
  ): Promise<readonly string[]>;
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
