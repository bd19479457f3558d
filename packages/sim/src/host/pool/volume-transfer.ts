// Content of volumes over streams (libvirt 9.0 src/util/virfdstream.c): what is a hole in the file is a hole on the wire
// when the client asked for that, zeros when not.
import { Hole } from "@innkeeper/libvirt/connection/stream.ts";
import { VIR_ERR_SYSTEM_ERROR, VIR_FROM_STREAMS } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { FileError } from "#host/file/file-error.ts";
import type { SimFile } from "#host/file/file.ts";
import type { ServerStream } from "#rpc/server-stream.ts";
import { withFiles } from "./storage-error.ts";

const CHUNK = 262_120;
const ZEROS = Buffer.alloc(CHUNK);

export interface Range {
  readonly offset: number;
  /** 0: to the end. */
  readonly length: number;
  readonly isSparse: boolean;
}

export async function download(
  file: SimFile,
  { offset, length, isSparse }: Range,
  stream: ServerStream,
): Promise<void> {
  const wanted = length === 0 ? file.lengthBytes - offset : length;
  for (const section of file.sections(offset, wanted)) {
    if (section.isHole && isSparse) await stream.write(new Hole(BigInt(section.length)));
    else await send(file, section, stream);
  }
}

async function send(
  file: SimFile,
  section: { readonly offset: number; readonly length: number; readonly isHole: boolean },
  stream: ServerStream,
): Promise<void> {
  for (let done = 0; done < section.length; done += CHUNK) {
    const size = Math.min(CHUNK, section.length - done);
    await stream.write(section.isHole ? ZEROS.subarray(0, size) : file.read(section.offset + done, size));
  }
}

/** @param path for the words of an error. */
export async function upload(
  file: SimFile,
  path: string,
  { offset, length }: Range,
  stream: ServerStream,
  clock: { nowMs(): number },
): Promise<void> {
  const end = length === 0 ? Number.POSITIVE_INFINITY : offset + length;
  let at = offset;
  const work = (run: () => void): void => withFiles(`Unable to write ${path}`, run, VIR_FROM_STREAMS);
  for await (const chunk of stream.received()) {
    if (chunk instanceof Hole) {
      at += Number(chunk.length);
      // As ftruncate(2) does: what stood behind the hole is cut off.
      work(() => file.truncate(at, clock.nowMs()));
      continue;
    }
    const fitting = chunk.subarray(0, Math.max(0, end - at));
    work(() => file.write(at, fitting, clock.nowMs()));
    at += fitting.byteLength;
    if (fitting.byteLength < chunk.byteLength) throw tooLong();
  }
}

function tooLong(): SimError {
  const { message, errno } = new FileError("ENOSPC");
  return new SimError(VIR_ERR_SYSTEM_ERROR, VIR_FROM_STREAMS, `cannot write to stream: ${message}`, errno);
}
