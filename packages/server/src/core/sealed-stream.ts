/**
 * Encrypts a stream of any length so that nothing of it can be changed, cut off, repeated or put in another order unseen:
 * the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015, https://eprint.iacr.org/2015/189) over AES-256-GCM,
 * laid out as age's payload is (https://age-encryption.org/v1, "Payload"): chunks of 64 KiB, each with its tag, under the
 * nonce of an 11-byte big-endian counter and a byte that is 1 for the last chunk. A key is for one stream only.
 * Invariant: the reader hands out a chunk only after its tag was checked, and ends without an error only after the last.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";

const algorithm = "aes-256-gcm";
const chunkBytes = 65_536;
const tagBytes = 16;
const nonceBytes = 12;

/** What was sealed was changed or cut off, or this is not its key. */
export class SealedStreamError extends Error {
  override readonly name = "SealedStreamError";
}

export async function* sealStream(content: AsyncIterable<Uint8Array>, key: Buffer): AsyncGenerator<Buffer> {
  let counter = 0;
  for await (const { chunk, isLast } of chunksOf(content, chunkBytes)) {
    const cipher = createCipheriv(algorithm, key, nonce(counter++, isLast));
    yield Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  }
}

/** SealedStreamError at the first chunk that is not what was sealed. */
export async function* openStream(sealed: AsyncIterable<Uint8Array>, key: Buffer): AsyncGenerator<Buffer> {
  let counter = 0;
  for await (const { chunk, isLast } of chunksOf(sealed, chunkBytes + tagBytes)) {
    const at = counter * (chunkBytes + tagBytes);
    if (chunk.length < tagBytes) throw new SealedStreamError(`it ends in the middle of a chunk, at byte ${at}`);
    const decipher = createDecipheriv(algorithm, key, nonce(counter++, isLast), { authTagLength: tagBytes });
    decipher.setAuthTag(chunk.subarray(chunk.length - tagBytes));
    let opened: Buffer;
    try {
      opened = Buffer.concat([decipher.update(chunk.subarray(0, chunk.length - tagBytes)), decipher.final()]);
    } catch (error) {
      const how = isLast ? "it was changed, or cut off, near its end" : "it was changed";
      throw new SealedStreamError(`${how} (byte ${at} and after)`, { cause: error });
    }
    yield opened;
  }
}

/** 2^53 chunks are more than any stream has, so the counter's upper bytes stay zero. */
function nonce(counter: number, isLast: boolean): Buffer {
  const bytes = Buffer.alloc(nonceBytes);
  bytes.writeBigUInt64BE(BigInt(counter), nonceBytes - 9);
  bytes[nonceBytes - 1] = isLast ? 1 : 0;
  return bytes;
}

/** Pieces of exactly `size` bytes, but for the last, which may be shorter; there is always a last one. */
async function* chunksOf(
  content: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ readonly chunk: Buffer; readonly isLast: boolean }> {
  let pending: Buffer[] = [];
  let length = 0;
  for await (const piece of content) {
    pending.push(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
    length += piece.byteLength;
    if (length <= size) continue;
    const joined = Buffer.concat(pending);
    let from = 0;
    // A full one is held back until it is known whether more follows.
    for (; joined.length - from > size; from += size) {
      yield { chunk: joined.subarray(from, from + size), isLast: false };
    }
    pending = [joined.subarray(from)];
    length = joined.length - from;
  }
  yield { chunk: Buffer.concat(pending), isLast: true };
}
