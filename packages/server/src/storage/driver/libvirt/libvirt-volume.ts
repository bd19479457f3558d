/**
 * Volumes of one host's pools, through libvirt. libvirt knows the volumes of its last refresh; whoever asks for one gets
 * the storage's truth: what isn't known is looked for by a refresh, what is known is looked at (its XML reads the file).
 */
import { posix } from "node:path";
import { LibvirtError, VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { Call, LongCall } from "#core/call.ts";
import { mapLimited } from "#core/concurrency.ts";
import { isNotFound } from "#libvirt/error.ts";
import { orUndefined } from "#libvirt/lookup.ts";
import {
  type ConnectedCall,
  type LibvirtContext,
  longDeadlineMs,
  onConnection,
  parallelCalls,
} from "#libvirt/session.ts";
import type { HostVolume, VolumeDefinition, VolumePort } from "#storage/port.ts";
import { lookUpPool, type PoolHandle, refresh } from "./libvirt-pool.ts";
import {
  type Download,
  downloadVolume,
  type FoundVolume,
  physicalBytes,
  readVolume,
  uploadVolume,
  type VolumeHandle,
} from "./volume-transfer.ts";
import { checkVolumeName, readVolumeXml, readWriteTime, volumeXml } from "./volume-xml.ts";

/** A copy of 64 TiB at 100 MB/s: longer means that it hangs. */
const copyDeadlineMs = 8 * 24 * 3_600_000;
const progressIntervalMs = 500;

export class LibvirtVolume implements VolumePort {
  readonly #context: LibvirtContext;

  constructor(context: LibvirtContext) {
    this.#context = context;
  }

  listVolumes(poolName: string, call: Call, known: readonly HostVolume[] = []): Promise<readonly HostVolume[]> {
    const knownByName = new Map(known.map((volume) => [volume.name, volume]));
    const what = `list volumes of pool ${poolName}`;
    return onConnection(
      this.#context,
      call,
      what,
      async (connected) => {
        const { connection, options } = connected;
        const pool = await lookUpPool(connected, poolName);
        const { vols } = await connection.remote.storagePoolListAllVolumes({ pool, needResults: 1 }, options);
        const volumes = await mapLimited(
          vols,
          parallelCalls,
          async (vol) => knownByName.get(vol.name) ?? this.#describeIfReadable(connected, vol),
        );
        return volumes.filter((volume) => volume !== undefined);
      },
      longDeadlineMs,
    );
  }

  async findVolume(poolName: string, name: string, call: Call): Promise<HostVolume | undefined> {
    checkVolumeName(name);
    return onConnection(
      this.#context,
      call,
      `look for volume ${name} in pool ${poolName}`,
      async (connected) => (await this.#find(connected, await lookUpPool(connected, poolName), name))?.volume,
      longDeadlineMs,
    );
  }

  findVolumeByPath(path: string, call: Call): Promise<HostVolume | undefined> {
    return onConnection(
      this.#context,
      call,
      `look for the volume ${path}`,
      async (connected) => {
        const { connection, options } = connected;
        try {
          const { vol } = await connection.remote.storageVolLookupByPath({ path }, options);
          return await describe(connected, vol);
        } catch (error) {
          if (!isGone(error)) throw error;
        }
        const pool = await orUndefined(
          connection.remote.storagePoolLookupByTargetPath({ path: posix.dirname(path) }, options),
        );
        if (pool === undefined) return undefined;
        return (await this.#find(connected, pool.pool, posix.basename(path)))?.volume;
      },
      longDeadlineMs,
    );
  }

  writtenAt(poolName: string, name: string, call: Call): Promise<string | undefined> {
    return onConnection(this.#context, call, `look at volume ${name} in pool ${poolName}`, async (connected) => {
      const { handle } = await this.#require(connected, poolName, name);
      const { xml } = await connected.connection.remote.storageVolGetXmlDesc({ vol: handle }, connected.options);
      return readWriteTime(xml);
    });
  }

  async createVolume(volume: VolumeDefinition, call: Call): Promise<HostVolume> {
    const definition = volumeXml(volume);
    return onConnection(
      this.#context,
      call,
      `create volume ${volume.name} in pool ${volume.poolName}`,
      async (connected) => {
        const { connection, options } = connected;
        const pool = await lookUpPool(connected, volume.poolName);
        await this.#refuseKnown(connected, pool, volume.name);
        const flags = createFlags(volume);
        const { vol } = await connection.remote.storageVolCreateXml({ pool, xml: definition, flags }, options);
        return describe(connected, vol);
      },
      // Preallocation of a raw volume writes all of it where the file system has no fallocate.
      volume.preallocate === true ? copyDeadlineMs : longDeadlineMs,
    );
  }

  async cloneVolume(
    source: { readonly poolName: string; readonly name: string },
    target: VolumeDefinition,
    call: LongCall,
  ): Promise<HostVolume> {
    const definition = volumeXml(target);
    return onConnection(
      this.#context,
      call,
      `copy volume ${source.name} to ${target.name} in pool ${target.poolName}`,
      async (connected) => {
        const pool = await lookUpPool(connected, target.poolName);
        const found = await this.#find(connected, await lookUpPool(connected, source.poolName), source.name);
        if (found === undefined) {
          throw new AppError("not_found", `There is no volume ${source.name} in pool ${source.poolName}.`);
        }
        if (target.capacityBytes < found.volume.capacityBytes) {
          const message = `The copy must have at least the ${found.volume.capacityBytes} bytes of ${source.name}.`;
          throw new AppError("invalid_field", message, { field: "capacityBytes" });
        }
        await this.#refuseKnown(connected, pool, target.name);
        await this.#copy(connected, { pool, definition, source: found, target }, call);
        const { handle } = await this.#require(connected, target.poolName, target.name);
        await growTo(connected, handle, target.capacityBytes);
        return describe(connected, handle);
      },
      copyDeadlineMs,
    );
  }

  async deleteVolume(poolName: string, name: string, call: Call): Promise<void> {
    checkVolumeName(name);
    return onConnection(
      this.#context,
      call,
      `delete volume ${name} in pool ${poolName}`,
      async (connected) => {
        const pool = await lookUpPool(connected, poolName);
        // Not looked at: also one that can't be read goes, or says why not.
        const vol = (await handleOf(connected, pool, name)) ?? (await this.#handleAfterRefresh(connected, pool, name));
        if (vol !== undefined) await deleteUnlessBusy(connected, vol);
      },
      longDeadlineMs,
    );
  }

  resizeVolume(poolName: string, name: string, capacityBytes: number, call: Call): Promise<void> {
    return onConnection(
      this.#context,
      call,
      `resize volume ${name} in pool ${poolName}`,
      async (connected) => {
        const { handle, volume } = await this.#require(connected, poolName, name);
        if (capacityBytes < volume.capacityBytes) {
          throw new AppError(
            "invalid_field",
            `Volumes only grow: ${name} has ${volume.capacityBytes} bytes, ${capacityBytes} would cut data off.`,
            { field: "capacityBytes" },
          );
        }
        await growTo(connected, handle, capacityBytes);
      },
      longDeadlineMs,
    );
  }

  upload(
    poolName: string,
    name: string,
    content: ReadableStream<Uint8Array>,
    sizeBytes: number,
    call: LongCall,
  ): Promise<void> {
    return onConnection(
      this.#context,
      call,
      `write volume ${name} in pool ${poolName}`,
      async (connected) => {
        const found = await this.#require(connected, poolName, name);
        await uploadVolume(connected, found, { content, sizeBytes }, call);
      },
      copyDeadlineMs,
    );
  }

  read(
    poolName: string,
    name: string,
    range: { readonly offset: number; readonly length: number },
    call: Call,
  ): Promise<Uint8Array> {
    return onConnection(this.#context, call, `read volume ${name} in pool ${poolName}`, async (connected) => {
      const { handle } = await this.#require(connected, poolName, name);
      return readVolume(connected, handle, range);
    });
  }

  fileBytes(poolName: string, name: string, call: Call): Promise<number> {
    return onConnection(this.#context, call, `look at volume ${name} in pool ${poolName}`, async (connected) => {
      const { handle } = await this.#require(connected, poolName, name);
      return Number(await physicalBytes(connected, handle));
    });
  }

  download(poolName: string, name: string, call: Call): Promise<Download> {
    return onConnection(this.#context, call, `read volume ${name} in pool ${poolName}`, async (connected) => {
      const { handle } = await this.#require(connected, poolName, name);
      // The deadline of this call is not the download's: that lasts as long as its reader takes.
      return downloadVolume(connected, handle, call);
    });
  }

  async #require(connected: ConnectedCall, poolName: string, name: string): Promise<FoundVolume> {
    checkVolumeName(name);
    const found = await this.#find(connected, await lookUpPool(connected, poolName), name);
    if (found === undefined) throw new AppError("not_found", `There is no volume ${name} in pool ${poolName}.`);
    return found;
  }

  /** For the sake of the words; libvirt itself never overwrites a file, also one that it does not know of. */
  async #refuseKnown(connected: ConnectedCall, pool: PoolHandle, name: string): Promise<void> {
    if ((await lookUp(connected, pool, name)) === undefined) return;
    throw new AppError("name_taken", `Pool ${pool.name} has a volume ${name} already.`, { field: "name" });
  }

  async #find(connected: ConnectedCall, pool: PoolHandle, name: string): Promise<FoundVolume | undefined> {
    const known = await lookUp(connected, pool, name);
    if (known !== undefined) return known;
    const vol = await this.#handleAfterRefresh(connected, pool, name);
    return vol && foundIfThere(connected, vol);
  }

  async #handleAfterRefresh(
    connected: ConnectedCall,
    pool: PoolHandle,
    name: string,
  ): Promise<VolumeHandle | undefined> {
    let known: VolumeHandle | undefined;
    // What is being copied or allocated right now is known from its begin.
    await refresh(this.#context, connected, pool, async () => {
      known = await handleOf(connected, pool, name);
      return known !== undefined;
    });
    return known ?? handleOf(connected, pool, name);
  }

  /** For lists: one volume that can't be read does not hide the others. */
  async #describeIfReadable(connected: ConnectedCall, handle: VolumeHandle): Promise<HostVolume | undefined> {
    try {
      return await describe(connected, handle);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      this.#context.log.debug({ volume: handle.key, error }, "volume is listed but can't be read");
      return undefined;
    }
  }

  /** libvirt reports no progress of a copy, but how much the target has taken so far. */
  async #copy(
    connected: ConnectedCall,
    copy: { pool: PoolHandle; definition: string; source: FoundVolume; target: VolumeDefinition },
    call: LongCall,
  ): Promise<void> {
    const { connection, options } = connected;
    const ended = new AbortController();
    const total = Math.max(copy.source.volume.allocationBytes, 1);
    const watch = async (): Promise<void> => {
      const signal = AbortSignal.any([ended.signal, options.signal]);
      while (!signal.aborted) {
        await this.#context.clock.sleep(progressIntervalMs, signal);
        const found = await orUndefined(
          connection.remote.storageVolLookupByName({ pool: copy.pool, name: copy.target.name }, { signal }),
        );
        if (found === undefined) continue;
        const { allocation } = await connection.remote.storageVolGetInfo({ vol: found.vol }, { signal });
        call.onProgress?.(Math.min(Number(allocation), total), total);
      }
    };
    const watching = call.onProgress === undefined ? Promise.resolve() : watch().catch(() => undefined);
    try {
      const { pool, definition, source, target } = copy;
      await connection.remote.storageVolCreateXmlFrom(
        { pool, xml: definition, clonevol: source.handle, flags: createFlags(target) },
        options,
      );
      call.onProgress?.(total, total);
    } finally {
      ended.abort();
      await watching;
    }
  }
}

/** conflict while it is being allocated or copied, which its caller may wait for. libvirt ignores a file that is gone. */
async function deleteUnlessBusy({ connection, options }: ConnectedCall, vol: VolumeHandle): Promise<void> {
  try {
    await connection.remote.storageVolDelete({ vol }, options);
  } catch (error) {
    if (isNotFound(error)) return;
    // libvirt 9.0 storageVolDelete: "volume '%s' is still in use." / "is still being allocated."
    const isBusy = error instanceof LibvirtError && /still (in use|being allocated)/.test(error.message);
    if (!isBusy) throw error;
    throw new AppError("conflict", `Volume ${vol.name} is still being written or copied.`, {
      cause: error,
      retryable: true,
    });
  }
}

async function handleOf(
  { connection, options }: ConnectedCall,
  pool: PoolHandle,
  name: string,
): Promise<VolumeHandle | undefined> {
  return (await orUndefined(connection.remote.storageVolLookupByName({ pool, name }, options)))?.vol;
}

async function lookUp(connected: ConnectedCall, pool: PoolHandle, name: string): Promise<FoundVolume | undefined> {
  const handle = await handleOf(connected, pool, name);
  return handle && foundIfThere(connected, handle);
}

/** undefined only when its file is gone; one that can't be read is an error. */
async function foundIfThere(connected: ConnectedCall, handle: VolumeHandle): Promise<FoundVolume | undefined> {
  try {
    return { handle, volume: await describe(connected, handle) };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** ENOENT of Linux (asm-generic/errno-base.h): VIR_ERR_SYSTEM_ERROR carries errno in int1. */
const noSuchFile = 2;

function isGone(error: unknown): boolean {
  if (isNotFound(error)) return true;
  return error instanceof LibvirtError && error.codeName === "VIR_ERR_SYSTEM_ERROR" && error.int1 === noSuchFile;
}

async function describe({ connection, options }: ConnectedCall, vol: VolumeHandle): Promise<HostVolume> {
  const { xml } = await connection.remote.storageVolGetXmlDesc({ vol }, options);
  return readVolumeXml(xml, vol.pool);
}

async function growTo(connected: ConnectedCall, vol: VolumeHandle, capacityBytes: number): Promise<void> {
  const { connection, options } = connected;
  if ((await describe(connected, vol)).capacityBytes >= capacityBytes) return;
  await connection.remote.storageVolResize({ vol, capacity: BigInt(capacityBytes) }, options);
}

function createFlags(volume: VolumeDefinition): number {
  return volume.preallocate === true && volume.format === "qcow2" ? VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA : 0;
}
