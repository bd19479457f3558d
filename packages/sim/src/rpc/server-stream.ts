// The daemon's end of a libvirt stream (src/remote/remote_daemon_stream.c): packets carry the serial of the call that
// opened it. The client ends with OK, which is confirmed by OK; the daemon's own end of data is an empty CONTINUE packet;
// ERROR aborts. A reader that is slow holds up the reading of the whole connection, as in libvirtd.
import { decode } from "@innkeeper/libvirt/codec/decode.ts";
import { encode } from "@innkeeper/libvirt/codec/encode.ts";
import { XdrReader } from "@innkeeper/libvirt/codec/xdr-reader.ts";
import { XdrWriter } from "@innkeeper/libvirt/codec/xdr-writer.ts";
import { Hole } from "@innkeeper/libvirt/connection/stream.ts";
import { frameOf } from "@innkeeper/libvirt/framing/message.ts";
import {
  VIR_NET_CONTINUE,
  VIR_NET_ERROR,
  VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX,
  VIR_NET_OK,
  VIR_NET_STREAM,
  VIR_NET_STREAM_HOLE,
} from "@innkeeper/libvirt/generated/protocol-constant.ts";
import { VIR_ERR_OPERATION_FAILED, VIR_FROM_STREAMS } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { schema } from "@innkeeper/libvirt/rpc/protocol.ts";
import type { StreamChunk } from "@innkeeper/libvirt/connection/stream.ts";
import type { Message, MessageHeader } from "@innkeeper/libvirt/framing/message.ts";
import type { NetStreamHole } from "@innkeeper/libvirt/generated/net-type.ts";
import { SimError, wireError } from "#error.ts";

/** Received bytes that may wait for the handler before the connection is no longer read. */
const READ_AHEAD = 1_048_576;
const holeType = schema.type("NetStreamHole");
const errorType = schema.type("NetMessageError");

/** What the stream needs of its connection. */
export interface StreamTransport {
  send(frame: Buffer): boolean;
  /** Resolves when the socket takes more, or is gone. */
  drained(): Promise<void>;
  pauseReading(stream: ServerStream): void;
  resumeReading(stream: ServerStream): void;
  streamEnded(stream: ServerStream, serial: number): void;
}

export class ServerStream {
  readonly serial: number;
  /** Aborted when the client gave the stream up or its connection is gone. */
  readonly signal: AbortSignal;
  readonly #transport: StreamTransport;
  readonly #header: Omit<MessageHeader, "type" | "status">;
  readonly #aborted = new AbortController();
  #queue: StreamChunk[] = [];
  #queuedBytes = 0;
  /** The client said that it is done. */
  #isFinished = false;
  #isOver = false;
  #wake: () => void = () => undefined;

  constructor(transport: StreamTransport, call: MessageHeader) {
    this.serial = call.serial;
    this.signal = this.#aborted.signal;
    this.#transport = transport;
    this.#header = { program: call.program, version: call.version, procedure: call.procedure, serial: call.serial };
  }

  /** What the client sends, until it is done. Throws when it gives up. */
  async *received(): AsyncGenerator<StreamChunk, void> {
    for (;;) {
      const chunk = this.#queue.shift();
      if (chunk !== undefined) {
        this.#queuedBytes -= chunk instanceof Hole ? 0 : chunk.byteLength;
        if (this.#queuedBytes <= READ_AHEAD / 2) this.#transport.resumeReading(this);
        yield chunk;
      } else if (this.signal.aborted) throw this.signal.reason;
      else if (this.#isFinished) return;
      else await this.#changed();
    }
  }

  /** Resolves when the connection takes more. Throws when the client gave up. */
  async write(chunk: StreamChunk): Promise<void> {
    if (chunk instanceof Hole) {
      const writer = new XdrWriter(64, 0, 16);
      encode(writer, holeType, { length: chunk.length, flags: 0 });
      this.#send(VIR_NET_STREAM_HOLE, VIR_NET_CONTINUE, writer.written());
      return await this.#pace();
    }
    for (let at = 0; at < chunk.byteLength; at += VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX) {
      this.#send(VIR_NET_STREAM, VIR_NET_CONTINUE, chunk.subarray(at, at + VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX));
      await this.#pace();
    }
  }

  /** Runs the handler's part and ends the stream by how it ended. */
  async run(handler: (stream: ServerStream) => Promise<void>): Promise<void> {
    try {
      await handler(this);
      if (!this.#isFinished) this.#send(VIR_NET_STREAM, VIR_NET_CONTINUE);
      while (!this.#isFinished && !this.signal.aborted) await this.#changed();
      if (!this.signal.aborted) this.#send(VIR_NET_STREAM, VIR_NET_OK);
    } catch (error) {
      if (!this.signal.aborted) this.#fail(error);
    } finally {
      this.#end();
    }
  }

  packet(message: Message): void {
    if (message.status === VIR_NET_ERROR) {
      this.#send(VIR_NET_STREAM, VIR_NET_OK);
      return this.abandon("the client aborted the stream");
    }
    if (message.status === VIR_NET_OK) this.#isFinished = true;
    else this.#enqueue(message);
    this.#wake();
  }

  /** The client gave up, or its connection is gone. */
  abandon(reason: string): void {
    if (this.signal.aborted) return;
    this.#aborted.abort(new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_STREAMS, reason));
    this.#queue = [];
    this.#wake();
  }

  #enqueue(message: Message): void {
    if (this.#isOver || this.signal.aborted) return;
    if (message.type === VIR_NET_STREAM_HOLE) {
      this.#queue.push(new Hole((decode(new XdrReader(message.payload), holeType) as NetStreamHole).length));
      return;
    }
    // The payload is a view into the receive buffer.
    const bytes = Uint8Array.from(message.payload);
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.byteLength;
    if (this.#queuedBytes > READ_AHEAD) this.#transport.pauseReading(this);
  }

  async #pace(): Promise<void> {
    await this.#transport.drained();
    if (this.signal.aborted) throw this.signal.reason;
  }

  #changed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }

  #fail(error: unknown): void {
    const writer = new XdrWriter(65_536);
    encode(writer, errorType, wireError(error));
    this.#send(VIR_NET_STREAM, VIR_NET_ERROR, writer.written());
  }

  #send(type: number, status: number, payload?: Uint8Array): void {
    if (!this.#isOver) this.#transport.send(frameOf({ ...this.#header, type, status }, payload));
  }

  #end(): void {
    this.#isOver = true;
    this.#transport.resumeReading(this);
    this.#transport.streamEnded(this, this.serial);
  }
}
