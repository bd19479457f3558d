// One storage pool: its definition, whether it runs, and the volumes that it found when it last looked. As in libvirt
// 9.0 (src/storage/storage_driver.c), what is made or deleted behind its back is not seen before the next refresh, and
// its sizes are those of the last refresh, corrected by what went through it.
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_STORAGE_VOL,
  VIR_ERR_OPERATION_INVALID,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimFile } from "#host/file/file.ts";
import type { HostFiles } from "#host/file/host-files.ts";
import { backendOf } from "./backend.ts";
import type { Volume, VolumeMap } from "./known-volume.ts";
import { formatPool, type Permissions, type PoolDefinition, type PoolSpace } from "./pool-definition.ts";
import { storageError } from "./storage-error.ts";

export class StoragePool {
  definition: PoolDefinition;
  /** What it is from its next start on. */
  nextDefinition: PoolDefinition | undefined;
  isPersistent: boolean;
  isActive = false;
  isAutostart = false;
  /** Copies and the like, during which the pool is neither refreshed nor stopped. */
  jobCount = 0;
  space: PoolSpace = { capacityBytes: 0, allocationBytes: 0, availableBytes: 0 };
  permissions: Permissions;
  volumes: VolumeMap = new Map();
  readonly #files: HostFiles;

  constructor(definition: PoolDefinition, files: HostFiles, isPersistent: boolean) {
    this.definition = definition;
    this.permissions = definition.permissions;
    this.isPersistent = isPersistent;
    this.#files = files;
  }

  get name(): string {
    return this.definition.name;
  }

  get uuid(): string {
    return this.definition.uuid;
  }

  get files(): HostFiles {
    return this.#files;
  }

  build(): void {
    backendOf(this.definition).build(this.definition, this.#files);
  }

  start(): void {
    const backend = backendOf(this.definition);
    backend.start(this.definition, this.#files);
    this.read();
    this.isActive = true;
  }

  stop(): void {
    backendOf(this.definition).stop(this.definition, this.#files);
    this.halt();
  }

  delete(): void {
    backendOf(this.definition).delete(this.definition, this.#files);
  }

  /** Looks at the storage anew. When that fails the pool has stopped. */
  refresh(): void {
    try {
      this.read();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  read(): void {
    this.volumes = new Map();
    const backend = backendOf(this.definition);
    const { volumes, space, permissions } = backend.read(this.definition, this.#files);
    this.volumes = volumes;
    this.space = space;
    if (permissions !== undefined) this.permissions = permissions;
  }

  /** It runs no longer: what was defined meanwhile counts now. */
  halt(): void {
    this.isActive = false;
    this.volumes = new Map();
    if (this.nextDefinition === undefined) return;
    this.definition = this.nextDefinition;
    this.permissions = this.definition.permissions;
    this.nextDefinition = undefined;
  }

  requireActive(): void {
    if (!this.isActive) throw storageError(VIR_ERR_OPERATION_INVALID, `storage pool '${this.name}' is not active`);
  }

  requireIdle(): void {
    if (this.jobCount > 0)
      throw storageError(VIR_ERR_INTERNAL_ERROR, `pool '${this.name}' has asynchronous jobs running.`);
  }

  requireVolume(name: string): Volume {
    this.requireActive();
    const volume = this.volumes.get(name);
    if (volume === undefined) throw storageError(VIR_ERR_NO_STORAGE_VOL, `no storage vol with matching name '${name}'`);
    return volume;
  }

  xml(isNext: boolean): string {
    const definition = isNext ? (this.nextDefinition ?? this.definition) : this.definition;
    return formatPool(definition, this.space, this.permissions);
  }

  /** The pool's own books, after a volume came (more) or went (less). */
  account(bytes: number): void {
    const { capacityBytes, allocationBytes, availableBytes } = this.space;
    this.space = {
      capacityBytes,
      allocationBytes: allocationBytes + bytes,
      availableBytes: availableBytes - bytes,
    };
  }

  allocationOf(volume: Volume): number {
    const entry = this.#files.find(volume.path);
    return entry instanceof SimFile ? entry.allocatedBytes : 0;
  }
}
