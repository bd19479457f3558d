// One connection's socket as calls, messages and streams. Knows framing, serials, slots and loss; knows nothing of what
// the procedures mean. Every promise it hands out settles: by an answer, an abort, a deadline, or the loss of the socket.
import { CodecError } from "#codec/codec-error.ts";
import { decode } from "#codec/decode.ts";
import { encode } from "#codec/encode.ts";
import { XdrReader } from "#codec/xdr-reader.ts";
import { XdrWriter } from "#codec/xdr-writer.ts";
import { FrameReader } from "#framing/frame-reader.ts";
import { FRAME_MAX, HEADER_SIZE, frameOf, writeHeader } from "#framing/message.ts";
import {
  KEEPALIVE_PROGRAM,
  VIR_NET_CALL,
  VIR_NET_ERROR,
  VIR_NET_MESSAGE,
  VIR_NET_OK,
  VIR_NET_REPLY,
  VIR_NET_REPLY_WITH_FDS,
  VIR_NET_STREAM,
  VIR_NET_STREAM_HOLE,
} from "#generated/protocol-constant.ts";
import { ConnectionLostError, LibvirtError, ProtocolError } from "./error.ts";
import { Keepalive } from "./keepalive.ts";
import { PendingCall, abortReason } from "./pending-call.ts";
import { schema, typeOf } from "./protocol.ts";
import { RequestSlots } from "./request-slot.ts";
import type { Duplex } from "node:stream";
import type { ProcedureEntry, Program } from "#codec/program.ts";
import type { Message } from "#framing/message.ts";
import type { NetMessageError } from "#generated/net-type.ts";
import type { LossReason } from "./error.ts";
import type { KeepaliveOptions } from "./keepalive.ts";
import type { CallOptions } from "./pending-call.ts";

export interface ChannelOptions {
  readonly callTimeoutMs: number;
  readonly maxRequests: number;
}

/** Receives what belongs to one stream. */
export interface StreamPeer {
  packet(message: Message): void;
  /** The server opened the stream after the caller had given up: it must be aborted. */
  abandon(): void;
  lost(error: ConnectionLostError): void;
}

type MessageHandler = (message: Message) => void;

export class Channel {
  readonly closed: Promise<{ error?: Error }>;
  readonly #socket: Duplex;
  readonly #options: ChannelOptions;
  readonly #slots: RequestSlots;
  readonly #keepalive: Keepalive;
  readonly #reader = new FrameReader((message) => this.#receive(message));
  readonly #calls = new Map<number, PendingCall>();
  readonly #streams = new Map<number, StreamPeer>();
  #onMessage: MessageHandler = () => undefined;
  readonly #pausedBy = new Set<StreamPeer>();
  #resolveClosed: (value: { error?: Error }) => void = () => undefined;
  #lost: ConnectionLostError | null = null;
  #serial = 0;
  #isCorked = false;
  #undrained: (() => void)[] = [];

  constructor(socket: Duplex, options: ChannelOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#slots = new RequestSlots(options.maxRequests);
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#keepalive = new Keepalive({
      send: (frame) => this.send(frame),
      isPaused: () => this.#pausedBy.size > 0,
      onDead: (message) => this.fail("keepalive", message),
    });
    socket.on("data", (chunk: Buffer) => this.#push(chunk));
    socket.on("drain", () => this.#drain());
    socket.on("end", () => this.fail("disconnected", "the server closed the connection"));
    socket.on("error", (error: Error) => this.fail("disconnected", `the connection broke: ${error.message}`, error));
    socket.on("close", () => this.fail("disconnected", "the connection was closed"));
  }

  get lost(): ConnectionLostError | null {
    return this.#lost;
  }

  startKeepalive(options: KeepaliveOptions): void {
    this.#keepalive.start(options);
  }

  call(
    program: Program,
    name: string,
    entry: ProcedureEntry,
    args: unknown,
    options: CallOptions = {},
  ): Promise<unknown> {
    return this.#request(program, name, entry, args, options, null);
  }

  /** A call whose serial carries a stream from its answer on (and, from the server's side, at once). */
  openStream(
    program: Program,
    name: string,
    entry: ProcedureEntry,
    args: unknown,
    options: CallOptions,
    peer: (serial: number) => StreamPeer,
  ): Promise<unknown> {
    return this.#request(program, name, entry, args, options, peer);
  }

  closeStream(serial: number, peer: StreamPeer): void {
    this.#streams.delete(serial);
    this.resumeReading(peer);
  }

  /** Resolves when the server works on no call, also on none that its caller gave up. */
  idle(): Promise<void> {
    return this.#slots.idle();
  }

  /** Called with each message that answers nothing: an event. */
  onMessage(handler: MessageHandler): void {
    this.#onMessage = handler;
  }

  /** False when the socket's buffer is full: await drained(). */
  send(frame: Buffer): boolean {
    if (this.#lost !== null) return true;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    return this.#socket.write(frame);
  }

  /** Resolves when the socket takes more, or is gone. */
  drained(): Promise<void> {
    if (!this.#socket.writableNeedDrain || this.#lost !== null) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#undrained.push(resolve);
    return promise;
  }

  #drain(): void {
    this.#keepalive.drained();
    const waiting = this.#undrained;
    this.#undrained = [];
    for (const resolve of waiting) resolve();
  }

  /** Back pressure: nothing is read from the socket until every peer that asked for it resumed. */
  pauseReading(peer: StreamPeer): void {
    this.#pausedBy.add(peer);
    this.#socket.pause();
  }

  resumeReading(peer: StreamPeer): void {
    if (!this.#pausedBy.delete(peer) || this.#pausedBy.size > 0) return;
    this.#keepalive.heard();
    this.#socket.resume();
  }

  /** Ends everything that is pending with one error. The first reason stays. */
  fail(reason: LossReason, message: string, cause?: unknown): void {
    if (this.#lost !== null) return;
    const error = new ConnectionLostError(reason, message, cause);
    this.#lost = error;
    this.#keepalive.stop();
    this.#socket.destroy();
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const peer of streams) peer.lost(error);
    this.#drain();
    this.#resolveClosed(reason === "closed" ? {} : { error });
  }

  #request(
    program: Program,
    name: string,
    entry: ProcedureEntry,
    args: unknown,
    options: CallOptions,
    peer: ((serial: number) => StreamPeer) | null,
  ): Promise<unknown> {
    if (this.#lost !== null) return Promise.reject(this.#lost);
    if (options.signal?.aborted === true) return Promise.reject(abortReason(options.signal));
    const [number, argsName, retName, priority] = entry;
    const serial = this.#nextSerial();
    let frame: Buffer;
    try {
      frame = encodeCall(program, number, serial, argsName, args);
    } catch (error) {
      return Promise.reject(error);
    }
    const { promise, ...settling } = Promise.withResolvers<unknown>();
    const call = new PendingCall(
      { procedure: name, program: program.number, number, retType: typeOf(retName) },
      settling,
      options,
      this.#options.callTimeoutMs,
    );
    this.#calls.set(serial, call);
    let isSent = false;
    const withdraw = this.#slots.acquire(priority, () => {
      isSent = true;
      call.withdraw = null;
      if (peer !== null) this.#streams.set(serial, peer(serial));
      this.send(frame);
    });
    if (!isSent) {
      call.withdraw = () => {
        withdraw();
        this.#calls.delete(serial);
      };
    }
    return promise;
  }

  #nextSerial(): number {
    do this.#serial = this.#serial >= 0xffffffff ? 1 : this.#serial + 1;
    while (this.#calls.has(this.#serial) || this.#streams.has(this.#serial));
    return this.#serial;
  }

  #push(chunk: Buffer): void {
    try {
      this.#reader.push(chunk);
      if (this.#reader.isPartial) this.#keepalive.arriving();
    } catch (error) {
      this.fail(
        "protocol",
        `the server broke the protocol: ${error instanceof Error ? error.message : String(error)}`,
        error,
      );
    }
  }

  #receive(message: Message): void {
    if (this.#lost !== null) return;
    this.#keepalive.heard();
    if (message.program === KEEPALIVE_PROGRAM) return this.#keepalive.receive(message);
    switch (message.type) {
      case VIR_NET_REPLY:
      case VIR_NET_REPLY_WITH_FDS:
        return this.#reply(message);
      case VIR_NET_MESSAGE:
        return this.#onMessage(message);
      case VIR_NET_STREAM:
      case VIR_NET_STREAM_HOLE:
        // A stream that was closed here may still have packets under way.
        return this.#streams.get(message.serial)?.packet(message);
      default:
        throw new CodecError(`message of type ${message.type}`);
    }
  }

  #reply(message: Message): void {
    const call = this.#calls.get(message.serial);
    if (call === undefined || call.program !== message.program || call.number !== message.procedure) {
      throw new CodecError(
        `an answer to no call: program ${message.program}, procedure ${message.procedure}, serial ${message.serial}`,
      );
    }
    this.#calls.delete(message.serial);
    this.#slots.release();
    const isError = message.status === VIR_NET_ERROR;
    const peer = this.#streams.get(message.serial);
    if (isError) this.#streams.delete(message.serial);
    else if (call.isSettled) peer?.abandon();
    if (call.isSettled) return;
    try {
      if (isError) call.reject(decodeError(message.payload, call.procedure));
      else call.resolve(call.retType === null ? undefined : decode(new XdrReader(message.payload), call.retType));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      call.reject(new ProtocolError(`${call.procedure}: the answer cannot be read: ${reason}`, { cause: error }));
    }
  }
}

function encodeCall(
  program: Program,
  procedure: number,
  serial: number,
  argsName: string | null,
  args: unknown,
): Buffer {
  const writer = new XdrWriter(FRAME_MAX, HEADER_SIZE);
  const type = typeOf(argsName);
  if (type !== null) encode(writer, type, args);
  const frame = writer.written();
  writeHeader(frame, {
    program: program.number,
    version: program.version,
    procedure,
    type: VIR_NET_CALL,
    serial,
    status: VIR_NET_OK,
  });
  return frame;
}

const errorType = schema.type("NetMessageError");

export function decodeError(payload: Buffer, procedure: string): LibvirtError {
  return new LibvirtError(decode(new XdrReader(payload), errorType) as NetMessageError, procedure);
}

export function streamFrame(
  program: Program,
  procedure: number,
  serial: number,
  type: number,
  status: number,
  payload?: Uint8Array,
): Buffer {
  return frameOf({ program: program.number, version: program.version, procedure, type, serial, status }, payload);
}
