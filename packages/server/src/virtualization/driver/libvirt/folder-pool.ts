/**
 * Files of a host that libvirt itself keeps, reached by libvirt's own storage calls: through the pool that someone has
 * there, or one of ours that lives for the moment. (libvirt 9.0: a pool is refused where another has the folder.)
 */
import {
  type CallOptions,
  type Connection,
  Hole,
  type NonnullStoragePool,
  VIR_STORAGE_POOL_CREATE_WITH_BUILD,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { formatXml, xml } from "#libvirt/xml.ts";

const poolAttempts = 5;
const cleanupMs = 10_000;

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
  for (let attempt = 1; ; attempt++) {
    const present = await remote.storagePoolLookupByTargetPath({ path }, options).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
    if (present) {
      await remote.storagePoolRefresh({ pool: present.pool }, options);
      return await work({ connection, pool: present.pool, options });
    }
    const flags = make ? VIR_STORAGE_POOL_CREATE_WITH_BUILD : 0;
    const made = await remote.storagePoolCreateXml({ xml: poolXml(path), flags }, options).catch((error: unknown) => {
      if (!make && isAbsent(error)) return "absent" as const;
      // Someone else's pool came between.
      if (attempt >= poolAttempts || !isLibvirtCode(error, "VIR_ERR_OPERATION_FAILED")) throw error;
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
}

/** Takes an empty folder away; fine if it is gone, or not empty. Only a pool that is defined and off can be deleted. */
export async function removeFolder({ remote }: Connection, path: string, options: CallOptions): Promise<void> {
  const { pool } = await remote.storagePoolDefineXml({ xml: poolXml(path) }, options);
  try {
    await remote.storagePoolDelete({ pool }, options).catch(() => undefined);
  } finally {
    await remote.storagePoolUndefine({ pool }, { ...options, signal: AbortSignal.timeout(cleanupMs) });
  }
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

function poolXml(path: string): string {
  const name = `innkeeper-${crypto.randomUUID()}`;
  return formatXml(xml("pool", { type: "dir" }, xml("name", {}, name), xml("target", {}, xml("path", {}, path))));
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && /no such file or directory|cannot open (path|directory)/i.test(error.message);
}
