// One client's connection to a simulated daemon: reads calls, runs them, answers, and sends what happens later (events,
// streams). As in libvirtd, at most five calls of a client run at once (max_client_requests), those that take long do not
// hold up the answers of the others, and a client must authenticate and open before it may do anything else.
import { decode } from "@innkeeper/libvirt/codec/decode.ts";
import { encode } from "@innkeeper/libvirt/codec/encode.ts";
import { XdrReader } from "@innkeeper/libvirt/codec/xdr-reader.ts";
import { XdrWriter } from "@innkeeper/libvirt/codec/xdr-writer.ts";
import { FRAME_MAX, HEADER_SIZE, writeHeader } from "@innkeeper/libvirt/framing/message.ts";
import {
  KEEPALIVE_PROGRAM,
  VIR_NET_CALL,
  VIR_NET_ERROR,
  VIR_NET_MESSAGE,
  VIR_NET_OK,
  VIR_NET_REPLY,
  VIR_NET_STREAM,
  VIR_NET_STREAM_HOLE,
} from "@innkeeper/libvirt/generated/protocol-constant.ts";
import { Keepalive } from "@innkeeper/libvirt/rpc/keepalive.ts";
import { schema } from "@innkeeper/libvirt/rpc/protocol.ts";
import type { Duplex } from "node:stream";
import type { Program } from "@innkeeper/libvirt/codec/program.ts";
import type { FieldType } from "@innkeeper/libvirt/codec/schema.ts";
import type { Message, MessageHeader } from "@innkeeper/libvirt/framing/message.ts";
import { VIR_ERR_OPERATION_FAILED, VIR_FROM_RPC } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError, unknownProcedure, wireError } from "#error.ts";
import { FrameSocket } from "./frame-socket.ts";
import { ServerStream } from "./server-stream.ts";

/** libvirtd.conf: max_client_requests, keepalive_interval, keepalive_count. */
const MAX_REQUESTS = 5;
const KEEPALIVE = { intervalMs: 5_000, count: 5 };

/** A result and, when the call opened a stream, what happens on it. */
export interface Outcome {
  readonly result: unknown;
  readonly run?: (stream: ServerStream) => Promise<void>;
}

export interface Procedure {
  readonly name: string;
  readonly argsType: FieldType | null;
  readonly retType: FieldType | null;
  run(session: Session, args: unknown): Outcome | Promise<Outcome>;
}

/** The daemon behind the connection. */
export interface Daemon {
  procedure(program: number, procedure: number): Procedure | undefined;
  /** Called before each call; a promise holds it up, a throw refuses it. */
  admit(session: Session, procedure: string): void | Promise<void>;
  closed(session: Session): void;
}

const errorType = schema.type("NetMessageError");

export class Session {
  readonly daemon: Daemon;
  /** Connected to the read-only socket, or opened so. */
  isReadOnly = false;
  isOpen = false;
  readonly #socket: FrameSocket;
  readonly #keepalive: Keepalive;
  readonly #waiting: Message[] = [];
  readonly #streams = new Map<number, ServerStream>();
  readonly #onClose = new Set<() => void>();
  #running = 0;

  constructor(daemon: Daemon, socket: Duplex) {
    this.daemon = daemon;
    this.#socket = new FrameSocket(
      socket,
      (message) => this.#receive(message),
      () => this.#closed(),
    );
    this.#keepalive = new Keepalive({
      send: (frame) => this.#socket.send(frame),
      isPaused: () => this.#socket.isPaused,
      onDead: () => this.close(),
    });
  }

  get isClosed(): boolean {
    return this.#socket.isClosed;
  }

  /** Pings the client when it is silent: it has said that it knows such messages. */
  startKeepalive(): void {
    this.#keepalive.start(KEEPALIVE);
  }

  /** Runs when the connection ends; returns what takes it back. */
  onClose(run: () => void): () => void {
    this.#onClose.add(run);
    return () => void this.#onClose.delete(run);
  }

  close(): void {
    this.#socket.close();
  }

  /** A fault: the connection breaks once so many more bytes have been sent, unless release() comes first. */
  cutAfter(byteCount: number, by: object): void {
    this.#socket.cutAfter(byteCount, by);
  }

  /** A fault: nothing is read from the client and nothing reaches it, until release() by all who hold it. */
  hang(by: object): void {
    this.#socket.hold(by);
  }

  /** What this one did to the connection is over. */
  release(by: object): void {
    this.#socket.release(by);
  }

  /** Sends one message of the daemon's own (an event). `value` is the struct of the message's table entry. */
  sendMessage(program: Program, name: string, value: unknown): void {
    const entry = program.messages[name];
    if (entry === undefined) throw new TypeError(`no message ${name}`);
    const [procedure, struct] = entry;
    const { number, version } = program;
    const header = { program: number, version, procedure, type: VIR_NET_MESSAGE, serial: 0, status: VIR_NET_OK };
    this.#socket.send(frame(header, schema.type(struct), value));
  }

  #receive(message: Message): void {
    this.#keepalive.heard();
    if (message.program === KEEPALIVE_PROGRAM) return this.#keepalive.receive(message);
    switch (message.type) {
      case VIR_NET_CALL:
        // The payload is a view into the receive buffer: what waits needs its own.
        if (this.#running < MAX_REQUESTS) this.#start(message);
        else this.#waiting.push({ ...message, payload: Buffer.from(message.payload) });
        return;
      case VIR_NET_STREAM:
      case VIR_NET_STREAM_HOLE:
        // A stream that ended here may still have packets under way.
        return this.#streams.get(message.serial)?.packet(message);
      default:
        return this.close();
    }
  }

  #start(message: Message): void {
    this.#running += 1;
    try {
      const procedure = this.daemon.procedure(message.program, message.procedure);
      if (procedure === undefined) throw unknownProcedure(message.procedure);
      const { argsType } = procedure;
      const args = argsType === null ? undefined : decode(new XdrReader(message.payload), argsType);
      const admitted = this.daemon.admit(this, procedure.name);
      const outcome =
        admitted === undefined ? procedure.run(this, args) : admitted.then(() => this.#runLate(procedure, args));
      if (outcome instanceof Promise) void this.#settle(message, procedure, outcome);
      else this.#answer(message, procedure, outcome);
    } catch (error) {
      this.#refuse(message, error);
    }
  }

  /** What a fault held up is not done for a client that is gone. */
  #runLate(procedure: Procedure, args: unknown): Outcome | Promise<Outcome> {
    if (this.isClosed) throw new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_RPC, "the connection is gone");
    return procedure.run(this, args);
  }

  async #settle(message: Message, procedure: Procedure, outcome: Promise<Outcome>): Promise<void> {
    try {
      this.#answer(message, procedure, await outcome);
    } catch (error) {
      this.#refuse(message, error);
    }
  }

  #answer(message: Message, { retType }: Procedure, { result, run }: Outcome): void {
    const reply = frame({ ...message, type: VIR_NET_REPLY, status: VIR_NET_OK }, retType, result);
    if (run !== undefined && !this.isClosed) {
      const stream = new ServerStream(this.#transport, message);
      this.#streams.set(message.serial, stream);
      this.#socket.send(reply);
      void stream.run(run);
    } else this.#socket.send(reply);
    this.#done();
  }

  #refuse(message: Message, error: unknown): void {
    this.#socket.send(frame({ ...message, type: VIR_NET_REPLY, status: VIR_NET_ERROR }, errorType, wireError(error)));
    this.#done();
  }

  #done(): void {
    this.#running -= 1;
    const next = this.#waiting.shift();
    if (next !== undefined && !this.isClosed) this.#start(next);
  }

  readonly #transport = {
    send: (bytes: Buffer): boolean => this.#socket.send(bytes),
    drained: (): Promise<void> => this.#socket.drained(),
    pauseReading: (stream: ServerStream): void => this.#socket.pause(stream),
    resumeReading: (stream: ServerStream): void => this.#socket.resume(stream),
    streamEnded: (_stream: ServerStream, serial: number): void => void this.#streams.delete(serial),
  };

  #closed(): void {
    this.#keepalive.stop();
    this.#waiting.length = 0;
    for (const stream of this.#streams.values()) stream.abandon("the connection is gone");
    for (const run of this.#onClose) run();
    this.#onClose.clear();
    this.daemon.closed(this);
  }
}

function frame(header: MessageHeader, type: FieldType | null, value: unknown): Buffer {
  const writer = new XdrWriter(FRAME_MAX, HEADER_SIZE);
  if (type !== null) encode(writer, type, value);
  const bytes = writer.written();
  const { program, version, procedure, type: kind, serial, status } = header;
  writeHeader(bytes, { program, version, procedure, type: kind, serial, status });
  return bytes;
}
