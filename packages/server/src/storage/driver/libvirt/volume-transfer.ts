/**
 * Content of volumes to and from a host, over libvirt streams (each on a connection of its own, so that a slow reader
 * holds up nothing else). Zeros travel as holes where that is safe, so that sparse files stay sparse.
 */
import {
  Hole,
  type StreamChunk,
  VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM,
  VIR_STORAGE_VOL_GET_PHYSICAL,
  VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { Call, LongCall } from "#core/call.ts";
import { mapLibvirtError } from "#libvirt/error.ts";
import type { ConnectedCall } from "#libvirt/session.ts";
import type { HostVolume } from "#storage/port.ts";

export interface VolumeHandle {
  readonly pool: string;
  readonly name: string;
  readonly key: string;
}

export interface FoundVolume {
  readonly handle: VolumeHandle;
  readonly volume: HostVolume;
}

export interface Download {
  readonly content: ReadableStream<Uint8Array>;
  readonly sizeBytes: number;
}

const progressIntervalMs = 250;
const zeroChunkBytes = 1_048_576;
/** Runs of zeros that are shorter are sent: a hole smaller than a file system's extents saves nothing. */
const holeMinBytes = 65_536;

/** Writes exactly `sizeBytes` from the start; invalid_field when the content is shorter or longer. */
export async function uploadVolume(
  { connection, options }: ConnectedCall,
  { handle, volume }: FoundVolume,
  upload: { readonly content: ReadableStream<Uint8Array>; readonly sizeBytes: number },
  call: LongCall,
): Promise<void> {
  const { sizeBytes } = upload;
  // A hole leaves what was there: only a volume without any data of its own may be written with holes.
  const isFresh = volume.format === "raw" && volume.allocationBytes === 0;
  const stream = await connection.stream(
    "storageVolUpload",
    {
      vol: handle,
      offset: 0n,
      length: BigInt(sizeBytes),
      flags: isFresh ? VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM : 0,
    },
    options,
  );
  const counted = countBytes(sizeBytes, call, isFresh);
  try {
    await upload.content.pipeThrough(counted, { signal: options.signal }).pipeTo(stream.writable);
    await stream.completed;
  } catch (error) {
    stream.abort(error);
    throw error;
  }
}

function countBytes(sizeBytes: number, call: LongCall, isSparse: boolean): TransformStream<Uint8Array, StreamChunk> {
  let done = 0;
  let reportedAtMs = 0;
  let zeroBytes = 0;
  const flushZeros = (controller: TransformStreamDefaultController<StreamChunk>): void => {
    if (zeroBytes >= holeMinBytes) controller.enqueue(new Hole(BigInt(zeroBytes)));
    else if (zeroBytes > 0) controller.enqueue(new Uint8Array(zeroBytes));
    zeroBytes = 0;
  };
  return new TransformStream<Uint8Array, StreamChunk>({
    transform(chunk, controller) {
      done += chunk.byteLength;
      if (done > sizeBytes) throw wrongLength(`more than ${sizeBytes}`, sizeBytes);
      if (isSparse && isZero(chunk)) zeroBytes += chunk.byteLength;
      else {
        flushZeros(controller);
        controller.enqueue(chunk);
      }
      const nowMs = performance.now();
      if (nowMs - reportedAtMs < progressIntervalMs) return;
      reportedAtMs = nowMs;
      call.onProgress?.(done, sizeBytes);
    },
    flush(controller) {
      if (done !== sizeBytes) throw wrongLength(String(done), sizeBytes);
      flushZeros(controller);
      call.onProgress?.(done, sizeBytes);
    },
  });
}

function wrongLength(got: string, wanted: number): AppError {
  return new AppError("invalid_field", `The content has ${got} bytes, ${wanted} were announced.`, {
    field: "sizeBytes",
  });
}

function isZero(chunk: Uint8Array): boolean {
  const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return buffer.length > 0 && buffer[0] === 0 && buffer.subarray(1).equals(buffer.subarray(0, -1));
}

/** How long the file is. */
export async function physicalBytes({ connection, options }: ConnectedCall, vol: VolumeHandle): Promise<bigint> {
  const flags = VIR_STORAGE_VOL_GET_PHYSICAL;
  return (await connection.remote.storageVolGetInfoFlags({ vol, flags }, options)).allocation;
}

/** Part of the file as it is. */
export async function readVolume(
  connected: ConnectedCall,
  vol: VolumeHandle,
  range: { readonly offset: number; readonly length: number },
): Promise<Uint8Array> {
  const { connection, options } = connected;
  const left = (await physicalBytes(connected, vol)) - BigInt(range.offset);
  const length = left < BigInt(range.length) ? left : BigInt(range.length);
  // libvirt takes a length of 0 as "to the end".
  if (length <= 0n) return new Uint8Array();
  const stream = await connection.stream(
    "storageVolDownload",
    { vol, offset: BigInt(range.offset), length, flags: 0 },
    options,
  );
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream.readable) if (!(chunk instanceof Hole)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The file as it is (a qcow2 volume's content is the qcow2 file); `call.signal` ends it at any time. */
export async function downloadVolume(connected: ConnectedCall, handle: VolumeHandle, call: Call): Promise<Download> {
  const { connection, options } = connected;
  const physical = await physicalBytes(connected, handle);
  const stream = await connection.stream(
    "storageVolDownload",
    { vol: handle, offset: 0n, length: physical, flags: VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM },
    { signal: call.signal, timeoutMs: options.timeoutMs },
  );
  const fill = fillHoles((error) =>
    mapLibvirtError(error, { what: `read volume ${handle.name}`, cancelledBy: call.signal }),
  );
  return { content: ReadableStream.from(fill(stream.readable)), sizeBytes: Number(physical) };
}

function fillHoles(mapError: (error: unknown) => AppError) {
  const zeros = new Uint8Array(zeroChunkBytes);
  return async function* (source: ReadableStream<StreamChunk>): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const chunk of source) {
        if (!(chunk instanceof Hole)) {
          yield chunk;
          continue;
        }
        for (let left = Number(chunk.length); left > 0; left -= zeroChunkBytes) {
          yield left >= zeroChunkBytes ? zeros : zeros.subarray(0, left);
        }
      }
    } catch (error) {
      throw mapError(error);
    }
  };
}
