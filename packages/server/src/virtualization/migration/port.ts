/** The port's part for migrations: what ties a guest to its host, what another host offers to it, and how it moves. */
import type { Call, LongCall } from "#core/call.ts";

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
    | "nvme-disk"
    | "host-disk"
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

/**
 * An address and port on which the hypervisor listens for a guest, on the host where it runs. Addresses in their shortest
 * form; undefined: the host's own choice. Without a port it takes one that is free.
 */
export interface GuestListener {
  readonly kind: "graphics" | "tcp" | "udp";
  /** As people find it in the XML: `graphics vnc`, `serial`. */
  readonly device: string;
  readonly address: string | undefined;
  readonly port: number | undefined;
}

/** A file of its host that the hypervisor reads when a guest starts: kernel, initrd, dtb, ACPI table. */
export interface BootFile {
  readonly kind: string;
  readonly path: string;
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
  readonly bootFiles: readonly BootFile[];
  /** Those that depend on the host: with an address of its own, or a fixed port. */
  readonly listeners: readonly GuestListener[];
  /** Addresses of its host, as far as they are known. */
  readonly hostAddresses: readonly string[];
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
  /** Addresses of the host, as far as they are known. */
  readonly hostAddresses: readonly string[];
  /** Of guests that run there; empty if the guest that would come has none that could collide. */
  readonly listeners: readonly (GuestListener & { readonly guest: string })[];
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
  reception(traits: Pick<MigrationTraits, "xml" | "hostCpuXml" | "listeners">, call: Call): Promise<MigrationReception>;
  /** Files in QEMU's certificate folder that this end of an encrypted migration lacks; undefined: the host does not tell. */
  missingCertificates(end: "server" | "client", call: Call): Promise<readonly string[] | undefined>;
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
  /**
   * Puts an empty file of that name into the folders where such files are. Answers the files whose folder had one of that
   * name already: by another host's hand, if the two share the folder.
   */
  markState(files: readonly string[], mark: string, call: Call): Promise<readonly string[]>;
  /** Takes it away. Fine if there is none. */
  unmarkState(files: readonly string[], mark: string, call: Call): Promise<void>;
  /** Whether it starts with the host. Nothing else of the definition is touched, and libvirt does not migrate it. */
  setAutostart(uuid: string, autostart: boolean, call: Call): Promise<void>;
  /** Moves the definition of a stopped guest, and nothing that its host keeps beside it (see readState). */
  migrateOffline(uuid: string, options: Pick<MigrationOptions, "targetUri">, call: Call): Promise<void>;
  /** Whether a long job (a migration, a snapshot with memory, a save) works on it. False for a guest that is off or gone. */
  isBusy(uuid: string, call: Call): Promise<boolean>;
  /** Cancels a migration that runs; fine if none does. */
  abortMigration(uuid: string, call: Call): Promise<void>;
}
