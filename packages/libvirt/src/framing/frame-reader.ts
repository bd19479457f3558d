// Cuts the byte stream into messages. A frame within one chunk is passed on without a copy; a frame over several chunks
// is gathered in a buffer that grows with what has arrived, never with what a length word announces. A length outside
// libvirt's limits throws: nothing after it can be trusted.
import {
  VIR_NET_CALL_WITH_FDS,
  VIR_NET_MESSAGE_NUM_FDS_MAX,
  VIR_NET_REPLY_WITH_FDS,
} from "#generated/protocol-constant.ts";
import { FRAME_MAX, HEADER_SIZE, readMessage } from "./message.ts";
import type { Message } from "./message.ts";

export class FramingError extends Error {
  override readonly name = "FramingError";
}

/** What a long frame over several chunks gets at once: the size of a packet of stream data (256 KiB) and more. */
const FIRST_SIZE = 327_680;

export class FrameReader {
  readonly #deliver: (message: Message) => void;
  /** Bytes of an unfinished frame; empty between frames. */
  #held: Buffer = Buffer.alloc(0);
  #heldLength = 0;
  /** Bytes to drop: libvirt sends one byte beside each file descriptor it passes (virNetSocketSendFD). */
  #skip = 0;

  constructor(deliver: (message: Message) => void) {
    this.#deliver = deliver;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#skip > 0) {
        const dropped = Math.min(this.#skip, chunk.byteLength - at);
        this.#skip -= dropped;
        at += dropped;
      } else if (this.#heldLength > 0) {
        at = this.#continue(chunk, at);
      } else {
        const left = chunk.byteLength - at;
        const size = left >= 4 ? frameSize(chunk, at) : HEADER_SIZE;
        if (left < 4 || left < size) return this.#hold(chunk, at, chunk.byteLength, size);
        this.#emit(chunk.subarray(at, at + size));
        at += size;
      }
    }
  }

  /** Whether bytes of an unfinished frame are held: the peer went away in the middle of a message. */
  get isPartial(): boolean {
    return this.#heldLength > 0;
  }

  #continue(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#heldLength < 4) {
      const end = Math.min(chunk.byteLength, at + 4 - this.#heldLength);
      this.#hold(chunk, at, end, HEADER_SIZE);
      at = end;
      if (this.#heldLength < 4) return at;
    }
    const size = frameSize(this.#held, 0);
    const end = Math.min(chunk.byteLength, at + size - this.#heldLength);
    this.#hold(chunk, at, end, size);
    if (this.#heldLength === size) {
      const frame = this.#held.subarray(0, size);
      this.#held = Buffer.alloc(0);
      this.#heldLength = 0;
      this.#emit(frame);
    }
    return end;
  }

  #hold(chunk: Buffer, from: number, to: number, size: number): void {
    const needed = this.#heldLength + to - from;
    if (needed > this.#held.byteLength) {
      const wanted = Math.min(size, Math.max(FIRST_SIZE, this.#held.byteLength * 2));
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, wanted));
      this.#held.copy(grown, 0, 0, this.#heldLength);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#heldLength, from, to);
    this.#heldLength = needed;
  }

  #emit(frame: Buffer): void {
    const message = readMessage(frame);
    if (message.type !== VIR_NET_REPLY_WITH_FDS && message.type !== VIR_NET_CALL_WITH_FDS)
      return this.#deliver(message);
    const count = message.payload.byteLength >= 4 ? message.payload.readUInt32BE(0) : Number.POSITIVE_INFINITY;
    if (count > VIR_NET_MESSAGE_NUM_FDS_MAX) throw new FramingError(`message with ${count} file descriptors`);
    this.#skip = count;
    this.#deliver({ ...message, payload: message.payload.subarray(4) });
  }
}

function frameSize(bytes: Buffer, at: number): number {
  const size = bytes.readUInt32BE(at);
  if (size < HEADER_SIZE) throw new FramingError(`frame of ${size} bytes is shorter than its header`);
  if (size > FRAME_MAX) throw new FramingError(`frame of ${size} bytes exceeds the limit of ${FRAME_MAX}`);
  return size;
}
