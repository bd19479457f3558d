// A libvirt stream as a pair of web streams (virnetprotocol.x VIR_NET_STREAM, src/remote/remote_daemon_stream.c).
// Wire: data and holes are CONTINUE packets; the server's empty CONTINUE packet is its end of data; whoever is done
// sends OK, which the server confirms with OK; ERROR aborts. Back pressure: a full readable stops the reading of the
// socket, a full socket holds up the writable.
import { decode } from "#codec/decode.ts";
import { encode } from "#codec/encode.ts";
import { XdrReader } from "#codec/xdr-reader.ts";
import { XdrWriter } from "#codec/xdr-writer.ts";
import {
  VIR_NET_CONTINUE,
  VIR_NET_ERROR,
  VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX,
  VIR_NET_OK,
  VIR_NET_STREAM,
  VIR_NET_STREAM_HOLE,
} from "#generated/protocol-constant.ts";
import { decodeError, streamFrame } from "#rpc/channel.ts";
import { ProtocolError } from "#rpc/error.ts";
import { abortReason } from "#rpc/pending-call.ts";
import { schema } from "#rpc/protocol.ts";
import type { Program } from "#codec/program.ts";
import type { Message } from "#framing/message.ts";
import type { NetStreamHole } from "#generated/net-type.ts";
import type { Channel, StreamPeer } from "#rpc/channel.ts";

/** A run of zeros that is not sent (sparse volumes; the call's flags must ask for it). */
export class Hole {
  /** In bytes. */
  readonly length: bigint;

  constructor(length: bigint) {
    this.length = length;
  }
}

export type StreamChunk = Uint8Array | Hole;

/** Received bytes that may wait for the consumer before the socket is no longer read. */
const READ_AHEAD = 1_048_576;
/** What a packet that waits costs at least, however little is in it: its objects and its place in the queue. */
const PACKET_MIN_BYTES = 256;
const holeType = schema.type("NetStreamHole");

function costBytes(chunk: StreamChunk): number {
  return chunk instanceof Hole ? PACKET_MIN_BYTES : Math.max(chunk.byteLength, PACKET_MIN_BYTES);
}

export class StreamSession implements StreamPeer {
  readonly readable: ReadableStream<StreamChunk>;
  readonly writable: WritableStream<StreamChunk>;
  /** Resolves when the server confirmed the end; rejects when the stream failed or was aborted. */
  readonly completed: Promise<void>;
  readonly #channel: Channel;
  readonly #program: Program;
  readonly #procedure: number;
  readonly #name: string;
  readonly #serial: number;
  readonly #completion: PromiseWithResolvers<void> = Promise.withResolvers();
  #source: ReadableStreamDefaultController<StreamChunk> | null = null;
  #sink: WritableStreamDefaultController | null = null;
  #isFinishing = false;
  #isOver = false;
  #isOpen = false;

  constructor(channel: Channel, call: { program: Program; procedure: number; name: string; serial: number }) {
    this.#channel = channel;
    this.#program = call.program;
    this.#procedure = call.procedure;
    this.#name = call.name;
    this.#serial = call.serial;
    this.completed = this.#completion.promise;
    this.completed.catch(() => undefined);
    this.readable = new ReadableStream<StreamChunk>(
      {
        start: (controller) => void (this.#source = controller),
        pull: () => channel.resumeReading(this),
        cancel: (reason) => this.abort(reason),
      },
      { highWaterMark: READ_AHEAD, size: costBytes },
    );
    this.writable = new WritableStream<StreamChunk>(
      {
        start: (controller) => void (this.#sink = controller),
        write: (chunk) => this.#write(chunk),
        close: () => this.#finish(),
        abort: (reason) => this.abort(reason),
      },
      { highWaterMark: 1 },
    );
  }

  /** The server accepted the call: the stream exists. */
  opened(signal: AbortSignal | undefined): void {
    this.#isOpen = true;
    if (signal === undefined) return;
    const onAbort = (): void => this.abort(abortReason(signal));
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => signal.removeEventListener("abort", onAbort);
    this.completed.then(forget, forget);
  }

  packet(message: Message): void {
    if (this.#isOver) return;
    if (message.status === VIR_NET_ERROR) return this.#fail(decodeError(message.payload, this.#name));
    if (message.status === VIR_NET_OK) return this.#complete();
    if (message.type === VIR_NET_STREAM_HOLE) {
      const hole = decode(new XdrReader(message.payload), holeType) as NetStreamHole;
      if (hole.length < 0n) return this.abort(new ProtocolError(`${this.#name}: a hole of ${hole.length} bytes`));
      return this.#deliver(new Hole(hole.length));
    }
    if (message.payload.byteLength > 0) return this.#deliver(message.payload);
    // End of the server's data: say that we are done too, and let its confirmation end the stream.
    void this.#finish();
  }

  lost(error: Error): void {
    this.#fail(error);
  }

  abandon(): void {
    this.#isOpen = true;
    this.abort(new DOMException("the stream was given up before it was open", "AbortError"));
  }

  /** Ends the stream at once on both sides; data under way is dropped. */
  abort(reason: unknown): void {
    if (this.#isOver) return;
    if (this.#isOpen) this.#send(VIR_NET_STREAM, VIR_NET_ERROR);
    this.#fail(reason);
  }

  #deliver(chunk: StreamChunk): void {
    this.#source?.enqueue(chunk);
    if ((this.#source?.desiredSize ?? 1) <= 0) this.#channel.pauseReading(this);
  }

  async #write(chunk: StreamChunk): Promise<void> {
    if (chunk instanceof Hole) {
      const writer = new XdrWriter(64, 0, 16);
      encode(writer, holeType, { length: chunk.length, flags: 0 });
      this.#send(VIR_NET_STREAM_HOLE, VIR_NET_CONTINUE, writer.written());
      return this.#channel.drained();
    }
    if (!(chunk instanceof Uint8Array)) throw new TypeError("a stream takes Uint8Array and Hole");
    for (let at = 0; at < chunk.byteLength && !this.#isOver; at += VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX) {
      this.#send(VIR_NET_STREAM, VIR_NET_CONTINUE, chunk.subarray(at, at + VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX));
      await this.#channel.drained();
    }
  }

  #finish(): Promise<void> {
    if (!this.#isFinishing && !this.#isOver) {
      this.#isFinishing = true;
      this.#send(VIR_NET_STREAM, VIR_NET_OK);
    }
    return this.completed;
  }

  #send(type: number, status: number, payload?: Uint8Array): void {
    this.#channel.send(streamFrame(this.#program, this.#procedure, this.#serial, type, status, payload));
  }

  #complete(): void {
    this.#end();
    this.#source?.close();
    if (!this.#isFinishing) this.#sink?.error(new TypeError("the server ended the stream"));
    this.#completion.resolve();
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#end();
    this.#source?.error(error);
    this.#sink?.error(error);
    this.#completion.reject(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#channel.closeStream(this.#serial, this);
  }
}
