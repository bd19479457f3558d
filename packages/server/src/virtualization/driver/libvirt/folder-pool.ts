/**
 * Files of a host that libvirt itself keeps, reached by libvirt's own storage calls: through the pool that someone has
 * there, or one of ours that lives for the moment. (libvirt 9.0: a pool is refused where another has the folder.)
 */
import { setTimeout } from "node:timers/promises";
import {
  type CallOptions,
  type Connection,
  Hole,
  type NonnullStoragePool,
  VIR_STORAGE_POOL_CREATE_WITH_BUILD,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { orUndefined } from "#libvirt/lookup.ts";
import { isOwnPool, removeLeftPools, withOwnPoolName } from "#libvirt/own-pool.ts";
import { formatXml, xml } from "#libvirt/xml.ts";

const poolAttempts = 5;
const cleanupMs = 10_000;
const heldPollMs = 100;

export interface Folder {
  readonly connection: Connection;
  readonly pool: NonnullStoragePool;
  readonly options: CallOptions;
}

/** `make`: the folder is made if it is not there; else there is nothing to do in it, and the answer is undefined. */
export async function inFolder<T>(
  connection: Connection,
  path: string,
  options: CallOptions,
  work: (folder: Folder) => Promise<T>,
  make = false,
): Promise<T | undefined> {
  const { remote } = connection;
  return await withOwnPoolName(connection, path, async (name) => {
    for (let attempt = 1; ; attempt++) {
      const present = await orUndefined(remote.storagePoolLookupByTargetPath({ path }, options));
      if (present !== undefined && !isOwnPool(present.pool.name)) {
        await remote.storagePoolRefresh({ pool: present.pool }, options);
        return await work({ connection, pool: present.pool, options });
      }
      const flags = make ? VIR_STORAGE_POOL_CREATE_WITH_BUILD : 0;
      const create = remote.storagePoolCreateXml({ xml: poolXml(name, path), flags }, options);
      const made = await create.catch(async (error: unknown) => {
        if (!make && isAbsent(error)) return "absent" as const;
        if (!isConflict(error)) throw error;
        // Someone else's pool came between, or an attempt that crashed left one of ours.
        if (!(await makesWay(connection, options)) && attempt >= poolAttempts) throw error;
        return undefined;
      });
      if (made === "absent") return undefined;
      if (made === undefined) continue;
      try {
        return await work({ connection, pool: made.pool, options });
      } finally {
        await remote.storagePoolDestroy({ pool: made.pool }, { ...options, signal: AbortSignal.timeout(cleanupMs) });
      }
    }
  });
}

/** Takes an empty folder away; fine if it is gone, or not empty. Only a pool that is defined and off can be deleted. */
export async function removeFolder(connection: Connection, path: string, options: CallOptions): Promise<void> {
  const { remote } = connection;
  await withOwnPoolName(connection, path, async (name) => {
    const pool = await defineHere(connection, poolXml(name, path), options);
    try {
      await remote.storagePoolDelete({ pool }, options).catch(() => undefined);
    } finally {
      await remote.storagePoolUndefine({ pool }, { ...options, signal: AbortSignal.timeout(cleanupMs) });
    }
  });
}

async function defineHere(connection: Connection, xmlText: string, options: CallOptions): Promise<NonnullStoragePool> {
  for (;;) {
    try {
      return (await connection.remote.storagePoolDefineXml({ xml: xmlText }, options)).pool;
    } catch (error) {
      if (!isConflict(error) || !(await makesWay(connection, options))) throw error;
    }
  }
}

/** Whether it is worth trying again: a pool that was left is gone now, or another installation's may go in a moment. */
async function makesWay(connection: Connection, options: CallOptions): Promise<boolean> {
  const { removed, held } = await removeLeftPools(connection, options);
  if (removed === 0 && held > 0) await setTimeout(heldPollMs, undefined, options);
  return removed + held > 0;
}

/** undefined if there is none. `maxBytes` bounds what is held in memory. */
export async function readFileIn(folder: Folder, name: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const { connection, pool, options } = folder;
  const found = await connection.remote.storageVolLookupByName({ pool, name }, options).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
  if (!found) return undefined;
  const { capacity } = await connection.remote.storageVolGetInfo({ vol: found.vol }, options);
  if (capacity > BigInt(maxBytes)) {
    throw new AppError("unsupported", `File ${name} of the VM has ${capacity} bytes, more than ${maxBytes}.`);
  }
  const stream = await connection.stream(
    "storageVolDownload",
    { vol: found.vol, offset: 0n, length: 0n, flags: 0 },
    options,
  );
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream.readable) {
    chunks.push(chunk instanceof Hole ? new Uint8Array(Number(chunk.length)) : chunk);
  }
  return Buffer.concat(chunks);
}

/** In place of any of that name; readable for its owner alone. */
export async function writeFileIn(folder: Folder, name: string, bytes: Uint8Array): Promise<void> {
  const { connection, pool, options } = folder;
  await deleteFileIn(folder, name);
  const description = formatXml(fileXml(name, bytes.length));
  const { vol } = await connection.remote.storageVolCreateXml({ pool, xml: description, flags: 0 }, options);
  const length = BigInt(bytes.length);
  const stream = await connection.stream("storageVolUpload", { vol, offset: 0n, length, flags: 0 }, options);
  const content = ReadableStream.from([bytes]);
  await content.pipeTo(stream.writable);
  await stream.completed;
}

export async function hasFileIn({ connection, pool, options }: Folder, name: string): Promise<boolean> {
  const found = await connection.remote.storageVolLookupByName({ pool, name }, options).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
  return found !== undefined;
}

/** Fine if there is none. */
export async function deleteFileIn({ connection, pool, options }: Folder, name: string): Promise<void> {
  try {
    const { vol } = await connection.remote.storageVolLookupByName({ pool, name }, options);
    await connection.remote.storageVolDelete({ vol }, options);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

export function fileXml(name: string, sizeBytes: number | bigint) {
  return xml(
    "volume",
    {},
    xml("name", {}, name),
    xml("capacity", { unit: "bytes" }, String(sizeBytes)),
    xml(
      "target",
      {},
      xml("format", { type: "raw" }),
      // Owner -1: the daemon's own; libvirt hands the files to whom it runs with when it starts the guest.
      xml("permissions", {}, xml("mode", {}, "0600")),
    ),
  );
}

function poolXml(name: string, path: string): string {
  return formatXml(xml("pool", { type: "dir" }, xml("name", {}, name), xml("target", {}, xml("path", {}, path))));
}

/** libvirt 9.0 virStoragePoolObjSourceFindDuplicate: another pool, running or not, has the folder. */
function isConflict(error: unknown): boolean {
  return isLibvirtCode(error, "VIR_ERR_OPERATION_FAILED");
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && /no such file or directory|cannot open (path|directory)/i.test(error.message);
}
