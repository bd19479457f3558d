/**
 * Files one after another in one stream: for each a length (32 bits, big-endian) and a JSON head of that length, then
 * the content. Who reads it must take the content of a file before the next. What is read is checked as if anybody had
 * written it: no path leads out of the folder that it is unpacked in.
 */
import { AppError } from "#core/app-error.ts";

export interface ArchiveEntry {
  /** Relative, of plain names: `ca/authority.pem`. */
  readonly path: string;
  readonly mode: number;
  readonly sizeBytes: number;
  readonly content: AsyncIterable<Uint8Array>;
}

const headMaxBytes = 4096;
const pathPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,100}(\/[A-Za-z0-9_][A-Za-z0-9._-]{0,100}){0,3}$/;

export function isArchivePath(path: string): boolean {
  return pathPattern.test(path);
}

export async function* writeArchive(entries: AsyncIterable<ArchiveEntry>): AsyncGenerator<Uint8Array> {
  for await (const { content, ...head } of entries) {
    const text = Buffer.from(JSON.stringify(head));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    yield length;
    yield text;
    yield* content;
  }
}

export async function* readArchive(source: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveEntry> {
  const reader = new ByteReader(source);
  for (;;) {
    const length = await reader.exactly(4, true);
    if (length === undefined) return;
    const size = length.readUInt32BE();
    if (size > headMaxBytes) throw broken("the head of a file is too long");
    const head = readHead(await reader.exactly(size));
    let left = head.sizeBytes;
    yield {
      ...head,
      content: (async function* () {
        for (; left > 0;) {
          const piece = await reader.some(left);
          left -= piece.length;
          yield piece;
        }
      })(),
    };
    if (left > 0) throw new Error(`the content of ${head.path} was not read to its end`);
  }
}

function readHead(bytes: Buffer | undefined): Omit<ArchiveEntry, "content"> {
  let head: unknown;
  try {
    head = JSON.parse(bytes?.toString("utf8") ?? "");
  } catch (error) {
    throw broken("the head of a file is no JSON", error);
  }
  const { path, mode, sizeBytes } = (head ?? {}) as Record<string, unknown>;
  if (typeof path !== "string" || !isArchivePath(path)) throw broken("a file has a path that leads elsewhere");
  if (typeof mode !== "number" || !Number.isInteger(mode) || (mode & ~0o777) !== 0) throw broken("a mode is wrong");
  if (typeof sizeBytes !== "number" || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw broken("a size is wrong");
  return { path, mode, sizeBytes };
}

function broken(what: string, cause?: unknown): AppError {
  return new AppError("invalid_field", `This is no archive of a state: ${what}.`, { field: "file", cause });
}

/** Takes bytes off a stream of pieces. */
class ByteReader {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#pieces = source[Symbol.asyncIterator]();
  }

  /** So many bytes; undefined at the end of the stream, if it may end here. */
  async exactly(length: number, mayEnd = false): Promise<Buffer | undefined> {
    const taken: Buffer[] = [];
    for (let left = length; left > 0;) {
      if (this.#rest.length === 0 && !(await this.#fill())) {
        if (mayEnd && left === length) return undefined;
        throw broken("it ends too early");
      }
      const piece = this.#take(left);
      left -= piece.length;
      taken.push(piece);
    }
    return Buffer.concat(taken);
  }

  /** At least one byte, at most `max`. */
  async some(max: number): Promise<Buffer> {
    if (this.#rest.length === 0 && !(await this.#fill())) throw broken("it ends too early");
    return this.#take(max);
  }

  #take(max: number): Buffer {
    const piece = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  async #fill(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#pieces.next();
      if (done === true) return false;
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return true;
  }
}
