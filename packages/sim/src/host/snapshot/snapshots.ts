// Taking snapshots (libvirt 9.0 src/qemu/qemu_snapshot.c qemuSnapshotCreateXML): inside the images, or as new layers on
// top of them, with or without the guest's memory; kept by libvirt, or left to whoever asked.
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import type { TypedParameters } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import {
  VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT,
  VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
  VIR_DOMAIN_SNAPSHOT_CREATE_HALT,
  VIR_DOMAIN_SNAPSHOT_CREATE_LIVE,
  VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
  VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE,
  VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE,
  VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT,
} from "@innkeeper/libvirt/generated/domain-snapshot-constant.ts";
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_OPERATION_ABORTED,
  VIR_ERR_OPERATION_UNSUPPORTED,
  VIR_ERR_XML_DETAIL,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { requireAgent } from "#host/agent/agent.ts";
import { wait } from "#host/clock.ts";
import { TextDocument } from "#host/domain/document.ts";
import type { Domains } from "#host/domain/domains.ts";
import { memoryOf } from "#host/domain/guest-memory.ts";
import { emit, operationInvalid, stop } from "#host/domain/lifecycle.ts";
import { stripLive } from "#host/domain/live.ts";
import { orderDomain } from "#host/domain/order.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import { addLayer, writeOpaque } from "#host/file/disk-layers.ts";
import { SimFile } from "#host/file/file.ts";
import type { HostFiles } from "#host/file/host-files.ts";
import { withFiles } from "#host/pool/storage-error.ts";
import { element, format, leaf } from "#xml/element.ts";
import { parse } from "#xml/parse.ts";
import { switchDisk } from "./disk-source.ts";
import { redefined } from "./snapshot-redefine.ts";
import {
  alignDisks,
  type DomainDisk,
  domainDisks,
  parseSnapshot,
  type Request,
  type Snapshot,
  type SnapshotDisk,
  type SnapshotState,
} from "./snapshot-definition.ts";
import { SnapshotTree } from "./snapshot-tree.ts";

/** A guest's memory is written so fast. */
const MEMORY_BYTES_PER_S = 1_000_000_000;

export class Snapshots {
  readonly domains: Domains;
  readonly files: HostFiles;
  readonly #trees = new WeakMap<SimDomain, SnapshotTree>();
  /** What the guest had done when its memory was saved, in seconds of its CPUs. */
  readonly #cpuSeconds = new WeakMap<Snapshot, number>();

  constructor(domains: Domains, files: HostFiles) {
    this.domains = domains;
    this.files = files;
  }

  treeOf(domain: SimDomain): SnapshotTree {
    const known = this.#trees.get(domain);
    if (known !== undefined) return known;
    const tree = new SnapshotTree();
    this.#trees.set(domain, tree);
    return tree;
  }

  /** None without a tree of its own: most domains have none. */
  hasSnapshots(domain: SimDomain): boolean {
    return (this.#trees.get(domain)?.size ?? 0) > 0;
  }

  cpuSecondsOf(snapshot: Snapshot): number {
    return this.#cpuSeconds.get(snapshot) ?? 0;
  }

  async create(domain: SimDomain, xml: string, flags: number): Promise<Snapshot> {
    const isRedefined = (flags & VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE) !== 0;
    const isDiskOnly = (flags & VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY) !== 0;
    const request = parseSnapshot(xml, !isRedefined && (isDiskOnly || !domain.isActive));
    const tree = this.treeOf(domain);
    if (isRedefined) {
      const snapshot = redefined(request, this.domains.context.random);
      tree.redefine(snapshot, (flags & VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT) !== 0);
      domain.snapshotCount = tree.size;
      return snapshot;
    }
    const snapshot = this.#planned(domain, tree, request, flags);
    await this.#take(domain, snapshot, flags);
    if ((flags & VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA) === 0) {
      tree.add(snapshot);
      domain.snapshotCount = tree.size;
    }
    if ((flags & VIR_DOMAIN_SNAPSHOT_CREATE_HALT) !== 0 && domain.isActive) {
      stop(this.domains, domain, lv.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT, lv.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT);
    }
    return snapshot;
  }

  /** What is to be done, refused where it can't be. */
  #planned(domain: SimDomain, tree: SnapshotTree, request: Request, flags: number): Snapshot {
    const isDiskOnly = (flags & VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY) !== 0;
    const isMetadataKept = (flags & VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA) === 0;
    const isExternalMemory = request.memory?.location === "external";
    if ((flags & VIR_DOMAIN_SNAPSHOT_CREATE_HALT) !== 0 && !domain.isPersistent)
      throw operationInvalid("cannot halt after transient domain snapshot");
    const createdS = Math.floor(this.domains.context.clock.nowMs() / 1000);
    const name = request.name ?? String(createdS);
    if (isMetadataKept) checkName(name);
    if ((flags & VIR_DOMAIN_SNAPSHOT_CREATE_LIVE) !== 0 && (!domain.isActive || !isExternalMemory))
      throw unsupported("live snapshot creation is supported only during full system snapshots");
    if (isMetadataKept) tree.refuseTaken(name);
    const root = (domain.run?.document ?? domain.config).root();
    stripLive(root);
    if (domain.isActive) root.children.push(element("resource", {}, [leaf("partition", "/machine")]));
    orderDomain(root);
    const disks = domainDisks(root);
    const fallback = isDiskOnly || isExternalMemory ? "external" : "internal";
    const planned = alignDisks(request, disks, { fallback, name });
    const state = stateOf(domain, isDiskOnly);
    const location = isExternalMemory ? "external" : isDiskOnly || state === "shutoff" ? "no" : "internal";
    const { file } = request.memory ?? {};
    const memory = { location, ...(file === undefined ? {} : { file }) } as const;
    this.#check(domain, planned, disks, { isReused: (flags & VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT) !== 0, memory });
    return {
      name,
      description: request.description,
      state,
      parentName: tree.current?.name,
      createdS,
      memory,
      disks: planned,
      domain: format(root),
      inactive: domain.isActive && domain.isPersistent ? domain.config.text() : undefined,
    };
  }

  /** qemuSnapshotPrepare. */
  #check(
    domain: SimDomain,
    planned: readonly SnapshotDisk[],
    disks: readonly DomainDisk[],
    options: { readonly isReused: boolean; readonly memory: NonNullable<Snapshot["memory"]> },
  ): void {
    const has = (location: string): boolean => planned.some((disk) => disk.location === location);
    for (const [index, { target, location, file, format: type }] of planned.entries()) {
      const disk = disks[index];
      if (location === "internal" && disk?.format !== "qcow2")
        throw refused(`internal snapshot for disk ${target} unsupported for storage type ${disk?.format ?? "raw"}`);
      if (location !== "external" || file === undefined) continue;
      if (type !== "qcow2" && type !== "qed")
        throw refused(`external snapshot format for disk ${target} is unsupported: ${type ?? ""}`);
      const isThere = this.files.find(file) instanceof SimFile;
      if (isThere && !options.isReused)
        throw refused(`external snapshot file for disk ${target} already exists and is not a block device: ${file}`);
      if (!isThere && options.isReused)
        withFiles(`missing existing file for disk ${target}: ${file}`, () => this.files.file(file), VIR_FROM_QEMU);
    }
    if (!has("internal") && !has("external")) {
      if (options.memory.location !== "external") throw refused("nothing selected for snapshot");
    }
    const isAnyLeftOut = planned.some((disk, index) => disk.location === "no" && disks[index]?.isSkipped === false);
    if (has("internal") && isAnyLeftOut)
      throw refused("internal and full system snapshots require all disks to be selected for snapshot");
    if (has("internal") && has("external"))
      throw refused("mixing internal and external targets for a snapshot is not yet supported");
    const isActiveDiskOnly = domain.isActive && options.memory.location === "no";
    if (isActiveDiskOnly && has("internal"))
      throw refused("active qemu domains require external disk snapshots; disk requested internal");
  }

  async #take(domain: SimDomain, snapshot: Snapshot, flags: number): Promise<void> {
    if ((flags & VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE) !== 0) requireAgent(domain);
    const { memory } = snapshot;
    this.#cpuSeconds.set(snapshot, domain.vcpuSeconds());
    if (memory?.location === "external" && memory.file !== undefined)
      return await this.#takeWithMemory(domain, snapshot, memory.file, (flags & VIR_DOMAIN_SNAPSHOT_CREATE_LIVE) !== 0);
    const isPausing = memory?.location === "internal" && domain.state === lv.VIR_DOMAIN_RUNNING;
    if (isPausing) this.#pause(domain, lv.VIR_DOMAIN_PAUSED_SAVE);
    try {
      this.#takeDisks(domain, snapshot, flags);
    } finally {
      if (isPausing) this.#resume(domain);
    }
  }

  #takeDisks(domain: SimDomain, { name, disks }: Snapshot, flags: number): void {
    const present = new Map(domain.facts.disks.map((disk) => [disk.target, disk.source]));
    const formats = new Map(
      domainDisks((domain.run?.document ?? domain.config).root()).map((disk) => [disk.target, disk.format]),
    );
    const made: string[] = [];
    try {
      for (const { target, location, file } of disks) {
        const source = present.get(target);
        if (source === undefined || location === "no") continue;
        if (location === "internal") this.#file(source).saveState(name);
        else if (file !== undefined && (flags & VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT) === 0) {
          const below = { path: source, format: formats.get(target) ?? "raw" };
          withFiles(`failed to create image file '${file}'`, () => addLayer(this.files, file, below), VIR_FROM_QEMU);
          made.push(file);
        }
      }
    } catch (error) {
      for (const file of made) this.files.remove(file);
      throw error;
    }
    for (const { target, location, file, format: type = "qcow2" } of disks) {
      const source = present.get(target);
      if (location === "external" && file !== undefined && source !== undefined)
        switchDisk(domain, target, source, { path: file, format: type });
    }
  }

  #file(path: string): SimFile {
    return withFiles(`Could not open '${path}'`, () => this.files.file(path), VIR_FROM_QEMU);
  }

  /** The memory goes to its file while a job can be watched and cancelled; then the disks follow at once. */
  async #takeWithMemory(domain: SimDomain, snapshot: Snapshot, file: string, isLive: boolean): Promise<void> {
    const { clock } = this.domains.context;
    if (domain.job !== null) throw operationInvalid("another job is active");
    const bytes = memoryOf(domain, clock).residentKiB * 1024;
    const wasRunning = domain.state === lv.VIR_DOMAIN_RUNNING;
    if (wasRunning && !isLive) this.#pause(domain, lv.VIR_DOMAIN_PAUSED_SNAPSHOT);
    const aborted = new AbortController();
    const startedMs = clock.steadyMs();
    const durationMs = (bytes / MEMORY_BYTES_PER_S) * 1000;
    domain.job = snapshotJob(bytes, () => clock.steadyMs() - startedMs, durationMs, aborted);
    const { id } = domain;
    try {
      await wait(clock, durationMs, aborted.signal);
      if (domain.id !== id) throw operationInvalid("domain is not running");
      withFiles(`Failed to create file '${file}'`, () => writeOpaque(this.files, file, bytes), VIR_FROM_QEMU);
      const isPaused = !wasRunning;
      const document = new TextDocument(parse(snapshot.domain ?? ""));
      this.domains.savedImages.set(file, { document, isPaused, cpuSeconds: domain.vcpuSeconds() });
      if (wasRunning && isLive) this.#pause(domain, lv.VIR_DOMAIN_PAUSED_SNAPSHOT);
      this.#takeDisks(domain, snapshot, 0);
    } finally {
      if (domain.id === id) {
        this.#endJob(domain);
        if (wasRunning && domain.isPaused) this.#resume(domain);
      }
    }
  }

  #endJob(domain: SimDomain): void {
    if (domain.job === null) return;
    const { params } = domain.job.stats();
    domain.lastJob = { type: lv.VIR_DOMAIN_JOB_COMPLETED, params };
    domain.job = null;
    this.domains.context.events.domain("jobCompleted", {
      dom: domain.ref,
      params: domain.lastJob.params as TypedParameters,
    });
  }

  #pause(domain: SimDomain, reason: number): void {
    domain.setState(lv.VIR_DOMAIN_PAUSED, reason);
    emit(this.domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, lv.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
  }

  #resume(domain: SimDomain): void {
    if (!domain.isActive) return;
    domain.setState(lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_RUNNING_UNPAUSED);
    emit(this.domains, domain, lv.VIR_DOMAIN_EVENT_RESUMED, lv.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
  }
}

function snapshotJob(
  bytes: number,
  elapsedMs: () => number,
  durationMs: number,
  aborted: AbortController,
): NonNullable<SimDomain["job"]> {
  return {
    operation: lv.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT,
    stats: () => {
      const part = durationMs === 0 ? 1 : Math.min(1, elapsedMs() / durationMs);
      const done = Math.floor(bytes * part);
      const params = {
        operation: lv.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT,
        time_elapsed: Math.floor(elapsedMs()),
        data_total: bytes,
        data_processed: done,
        data_remaining: bytes - done,
        memory_total: bytes,
        memory_processed: done,
        memory_remaining: bytes - done,
        memory_bps: MEMORY_BYTES_PER_S,
      };
      return { type: lv.VIR_DOMAIN_JOB_UNBOUNDED, params };
    },
    abort: () =>
      aborted.abort(new SimError(VIR_ERR_OPERATION_ABORTED, VIR_FROM_QEMU, "snapshot job: canceled by client")),
  };
}

function stateOf(domain: SimDomain, isDiskOnly: boolean): SnapshotState {
  if (!domain.isActive) return "shutoff";
  if (isDiskOnly) return "disk-snapshot";
  return domain.state === lv.VIR_DOMAIN_RUNNING ? "running" : "paused";
}

function checkName(name: string): void {
  const why = name.includes("/") ? "contain '/'" : name.startsWith(".") ? "start with '.'" : undefined;
  if (why === undefined) return;
  throw new SimError(VIR_ERR_XML_DETAIL, VIR_FROM_QEMU, `invalid snapshot name '${name}': name can't ${why}`);
}

function refused(detail: string): SimError {
  return new SimError(VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, detail);
}

function unsupported(detail: string): SimError {
  return new SimError(VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU, detail);
}
