// Block jobs of a host's running guests: merging layers, flattening, copying (libvirt 9.0 qemuDomainBlock* in
// src/qemu/qemu_driver.c, src/qemu/qemu_block.c qemuBlockCommit).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_BLOCK_COPY_ACTIVE,
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_INVALID_ARG,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_OPERATION_UNSUPPORTED,
  VIR_FROM_QEMU,
  VIR_FROM_STORAGE,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { Domains } from "#host/domain/domains.ts";
import { sourceOf } from "#host/domain/facts.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import {
  beginCopy,
  commitInto,
  type CopyTarget,
  dataBytes,
  finishCopy,
  type Layer,
  layersBelow,
  pullInto,
  relink,
} from "#host/file/disk-layers.ts";
import type { HostFiles } from "#host/file/host-files.ts";
import { withFiles } from "#host/pool/storage-error.ts";
import { diskNamed, diskOf, switchDisk } from "#host/snapshot/disk-source.ts";
import { attributeOf, element, elements, find, isElement, replaceChild } from "#xml/element.ts";
import { BlockJob, type BlockJobOptions } from "./block-job.ts";

interface Disk {
  readonly target: string;
  readonly source: string;
  readonly format: string;
}

export interface Commit {
  readonly disk: string;
  readonly base: string | null;
  readonly top: string | null;
  readonly bandwidthBytesPerS: number;
  readonly isShallow: boolean;
  readonly isActive: boolean;
  readonly isDeleting: boolean;
}

export interface CopyRequest extends Omit<CopyTarget, "format"> {
  readonly format?: string;
  /** The client knows that a definition which is started anew would not have the job. */
  readonly isTransientJob: boolean;
}

export class BlockJobs {
  readonly #domains: Domains;
  readonly #files: HostFiles;
  readonly #jobs = new WeakMap<SimDomain, Map<string, BlockJob>>();

  constructor(domains: Domains, files: HostFiles) {
    this.#domains = domains;
    this.#files = files;
  }

  find(domain: SimDomain, path: string): BlockJob | undefined {
    return this.#liveJob(domain, this.#disk(domain, path).target);
  }

  require(domain: SimDomain, path: string): BlockJob {
    const { target } = this.#disk(domain, path);
    const job = this.#liveJob(domain, target);
    if (job === undefined) throw refused(VIR_ERR_INVALID_ARG, `disk ${target} does not have an active block job`);
    return job;
  }

  commit(domain: SimDomain, { disk: name, base, top, bandwidthBytesPerS, ...options }: Commit): void {
    const disk = this.#freeDisk(domain, name);
    const chain = [{ path: disk.source, format: disk.format }, ...layersBelow(this.#files, disk.source)];
    const topAt = top === null ? 0 : lookUp(chain, top, disk);
    const isActive = topAt === 0;
    const topPath = chain[topAt]?.path ?? disk.source;
    if (isActive && !options.isActive)
      throw refused(VIR_ERR_INVALID_ARG, `commit of '${disk.target}' active layer requires active flag`);
    if (!isActive && options.isActive)
      throw refused(VIR_ERR_INVALID_ARG, `active commit requested but '${topPath}' is not active`);
    if (base === null && chain.length - topAt < 2)
      throw notInChain(`could not find base image in chain for '${disk.target}'`);
    const baseAt =
      base === null ? (options.isShallow ? topAt + 1 : chain.length - 1) : lookUp(chain, base, disk, topAt + 1);
    const below = chain[baseAt];
    if (below === undefined) return;
    if (options.isShallow && baseAt !== topAt + 1) {
      const detail = `base '${below.path}' is not immediately below '${topPath}' in chain for '${disk.source}'`;
      throw refused(VIR_ERR_INVALID_ARG, detail);
    }
    const merged = chain.slice(topAt, baseAt).map(({ path }) => path);
    const merge = (): void => commitInto(this.#files, topPath, below.path, this.#nowMs());
    const clean = (): void => {
      if (options.isDeleting) for (const path of merged) this.#files.remove(path);
    };
    const totalBytes = dataBytes(this.#files, topPath, below.path);
    const common = { target: disk.target, source: disk.source, totalBytes, bandwidthBytesPerS };
    if (isActive) {
      this.#mirror(domain, disk, below, "active-commit");
      const pivot = (): void => {
        merge();
        switchDisk(domain, disk.target, disk.source, below);
        clean();
      };
      const type = lv.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT;
      this.#run(domain, { ...common, type, staysReady: true }, () => undefined, pivot);
      return;
    }
    const above = chain[topAt - 1]?.path ?? disk.source;
    this.#run(domain, { ...common, type: lv.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT, staysReady: false }, () => {
      merge();
      relink(this.#files, above, below, this.#nowMs());
      clean();
    });
  }

  /** @param base stays below; null: nothing does. */
  pull(domain: SimDomain, path: string, base: string | null, bandwidthBytesPerS: number): void {
    const disk = this.#freeDisk(domain, path);
    const chain = [{ path: disk.source, format: disk.format }, ...layersBelow(this.#files, disk.source)];
    const below = base === null ? undefined : chain[lookUp(chain, base, disk, 1)];
    const totalBytes = dataBytes(this.#files, disk.source, below?.path) - this.#files.file(disk.source).guestBytes;
    const common = { target: disk.target, source: disk.source, totalBytes, bandwidthBytesPerS };
    this.#run(domain, { ...common, type: lv.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL, staysReady: false }, () =>
      pullInto(this.#files, disk.source, below, this.#nowMs()),
    );
  }

  copy(domain: SimDomain, path: string, copy: CopyRequest, bandwidthBytesPerS: number): void {
    const disk = this.#freeDisk(domain, path);
    if (domain.isPersistent && !copy.isTransientJob)
      throw refused(VIR_ERR_OPERATION_INVALID, "domain is not transient");
    if (!copy.path.startsWith("/"))
      throw refused(VIR_ERR_INVALID_ARG, "absolute path must be used as block copy target");
    const isThere = this.#files.find(copy.path) !== undefined;
    if (isThere && !copy.isReused) {
      const detail = `external destination file for disk ${disk.target} already exists and is not a block device: ${copy.path}`;
      throw refused(VIR_ERR_CONFIG_UNSUPPORTED, detail);
    }
    const target: CopyTarget = { ...copy, format: copy.format ?? disk.format };
    withFiles(`Failed to create file '${copy.path}'`, () => beginCopy(this.#files, disk.source, target), VIR_FROM_QEMU);
    this.#mirror(domain, disk, target, "copy");
    const below = copy.isShallow ? layersBelow(this.#files, disk.source)[0]?.path : undefined;
    const totalBytes = dataBytes(this.#files, disk.source, below);
    const common = { target: disk.target, source: disk.source, totalBytes, bandwidthBytesPerS };
    const finish = (): void => finishCopy(this.#files, disk.source, target, this.#nowMs());
    this.#run(domain, { ...common, type: lv.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY, staysReady: true }, finish, () =>
      switchDisk(domain, disk.target, disk.source, target),
    );
  }

  /** The image grows under the guest (or shrinks: QEMU does not mind). */
  resize(domain: SimDomain, path: string, capacityBytes: number): void {
    domain.requireActive();
    const disk = diskNamed(domain.liveRoot(), path);
    if (disk === undefined) throw refused(VIR_ERR_INVALID_ARG, `disk '${path}' was not found in the domain config`);
    const source = sourceOf(disk);
    if (source === undefined || find(disk, "readonly") !== undefined)
      throw refused(VIR_ERR_OPERATION_UNSUPPORTED, `can't resize empty or readonly disk '${path}'`);
    withFiles(
      "unable to execute QEMU command 'block_resize'",
      () => this.#files.file(source).resize(capacityBytes, this.#nowMs()),
      VIR_FROM_QEMU,
    );
  }

  abort(domain: SimDomain, path: string, isPivot: boolean): void {
    const job = this.require(domain, path);
    const { target, onPivot } = job.options;
    if (isPivot && !(job.options.staysReady && job.isReady)) {
      const detail = job.options.staysReady
        ? `block copy still active: disk '${target}' not ready for pivot yet`
        : `job type does not support pivot of disk '${target}'`;
      if (!job.options.staysReady) throw refused(VIR_ERR_INVALID_ARG, detail);
      throw refused(VIR_ERR_BLOCK_COPY_ACTIVE, `disk '${target}' not ready for pivot yet`);
    }
    if (isPivot) onPivot();
    this.#end(domain, job, isPivot ? lv.VIR_DOMAIN_BLOCK_JOB_COMPLETED : lv.VIR_DOMAIN_BLOCK_JOB_CANCELED);
  }

  #run(
    domain: SimDomain,
    options: Omit<BlockJobOptions, "domainId" | "onCopied" | "onPivot">,
    finish: () => void,
    pivot: () => void = () => undefined,
  ): void {
    const jobs = this.#jobs.get(domain) ?? new Map<string, BlockJob>();
    this.#jobs.set(domain, jobs);
    const { id } = domain;
    const copied = (): void => {
      // A guest that has ended took its jobs with it.
      if (domain.id !== id) return void jobs.delete(options.target);
      try {
        finish();
      } catch {
        return this.#end(domain, job, lv.VIR_DOMAIN_BLOCK_JOB_FAILED);
      }
      if (!options.staysReady) return this.#end(domain, job, lv.VIR_DOMAIN_BLOCK_JOB_COMPLETED);
      domain.editLive((root) => find(diskOf(root, options.target), "mirror")?.attributes.set("ready", "yes"));
      this.#tell(domain, job, lv.VIR_DOMAIN_BLOCK_JOB_READY);
    };
    const job = new BlockJob(this.#domains.context.clock, {
      ...options,
      domainId: id,
      onCopied: copied,
      onPivot: pivot,
    });
    jobs.set(options.target, job);
  }

  #end(domain: SimDomain, job: BlockJob, status: number): void {
    job.drop();
    this.#jobs.get(domain)?.delete(job.options.target);
    if (job.options.staysReady) {
      domain.editLive((root) => {
        const disk = diskOf(root, job.options.target);
        if (disk !== undefined) replaceChild(disk, "mirror", undefined);
      });
    }
    this.#tell(domain, job, status);
  }

  /** The older event names the image that the disk has by now. */
  #tell(domain: SimDomain, { options: { type, target, source: before } }: BlockJob, status: number): void {
    const { events } = this.#domains.context;
    const source = domain.facts.disks.find((disk) => disk.target === target)?.source ?? before;
    events.domain("blockJob", { dom: domain.ref, path: source, type, status });
    events.domain("blockJob2", { dom: domain.ref, dst: target, type, status });
  }

  #mirror(domain: SimDomain, { target }: Disk, { path, format }: Layer, job: string): void {
    domain.editLive((root) => {
      const disk = diskOf(root, target);
      if (disk === undefined) return;
      // Copies have the older attributes, too (virDomainDiskDefFormatMirror).
      const older = job === "copy" ? { file: path, format } : {};
      const mirror = element("mirror", { type: "file", ...older, job }, [
        element("format", { type: format }),
        element("source", { file: path }),
      ]);
      const at = disk.children.findIndex((child) => isElement(child) && child.name === "target");
      disk.children.splice(at === -1 ? disk.children.length : at, 0, mirror);
    });
  }

  #freeDisk(domain: SimDomain, name: string): Disk {
    domain.requireActive();
    const disk = this.#disk(domain, name);
    const job = this.#liveJob(domain, disk.target);
    if (job === undefined) return disk;
    const code = job.options.staysReady ? VIR_ERR_BLOCK_COPY_ACTIVE : VIR_ERR_OPERATION_UNSUPPORTED;
    throw refused(code, `disk '${disk.target}' already in active block job`);
  }

  #liveJob(domain: SimDomain, target: string): BlockJob | undefined {
    const job = this.#jobs.get(domain)?.get(target);
    if (job === undefined || job.options.domainId === domain.id) return job;
    job.drop();
    this.#jobs.get(domain)?.delete(target);
    return undefined;
  }

  #disk(domain: SimDomain, name: string): Disk {
    domain.requireActive();
    const disk = diskNamed(domain.liveRoot(), name);
    if (disk === undefined) throw refused(VIR_ERR_INVALID_ARG, `disk '${name}' not found in domain`);
    const target = attributeOf(disk, "target", "dev") ?? name;
    const source = sourceOf(disk);
    if (source === undefined)
      throw refused(VIR_ERR_CONFIG_UNSUPPORTED, `disk ${target} has no source file to be committed`);
    return { target, source, format: attributeOf(disk, "driver", "type") ?? "raw" };
  }

  #nowMs(): number {
    return this.#domains.context.clock.nowMs();
  }
}

/** Where in the chain, from `from` on: by path, or as "vda[2]" (virStorageSourceChainLookup). */
function lookUp(chain: readonly Layer[], name: string, { target }: Disk, from = 0): number {
  const numbered = /^(.*)\[(\d+)\]$/u.exec(name);
  // libvirt counts images from 1 on.
  const at = numbered?.[1] === target ? Number(numbered[2]) - 1 : chain.findIndex(({ path }) => path === name);
  if (at >= from && at < chain.length) return at;
  const beneath = from === 0 ? "" : ` beneath '${chain[from - 1]?.path ?? ""}'`;
  throw notInChain(`could not find image '${name}'${beneath} in chain for '${target}'`);
}

function notInChain(detail: string): SimError {
  return new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_STORAGE, detail);
}

function refused(code: number, detail: string): SimError {
  return new SimError(code, VIR_FROM_QEMU, detail);
}

export function copyTargetOf(disk: ReturnType<typeof element>): { readonly path: string; readonly format?: string } {
  const format = attributeOf(disk, "driver", "type");
  const path = sourceOf(disk) ?? elements(disk, "source")[0]?.attributes.get("file") ?? "";
  return format === undefined ? { path } : { path, format };
}
