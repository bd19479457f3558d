// An open connection to one libvirt daemon: typed calls, streams and events over one channel.
import { setTimeout as delay } from "node:timers/promises";
import { lxcProgram } from "#generated/lxc-procedure.ts";
import { qemuProgram } from "#generated/qemu-procedure.ts";
import { remoteProgram } from "#generated/remote-procedure.ts";
import { bindCalls } from "./call.ts";
import { EventSource } from "./event-source.ts";
import { StreamSession } from "./stream.ts";
import type { LxcCalls } from "#generated/lxc-procedure.ts";
import type { QemuCalls } from "#generated/qemu-procedure.ts";
import type { RemoteCalls, RemoteStreams } from "#generated/remote-procedure.ts";
import type { Channel } from "#rpc/channel.ts";
import type { CallOptions } from "#rpc/pending-call.ts";
import type { Calls, Invoke } from "./call.ts";
import type { StreamChunk } from "./stream.ts";

export interface StreamOptions extends CallOptions {
  /**
   * A connection of its own for the stream (default), so that a slow consumer holds up nothing else; false: over this
   * connection, whose other answers then wait behind the stream's data.
   */
  readonly isDedicated?: boolean;
}

export interface OpenStream<Ret> {
  readonly ret: Ret;
  /** What the server sends. Cancelling aborts the stream. */
  readonly readable: ReadableStream<StreamChunk>;
  /** What the server gets. Closing waits for the server's confirmation; aborting aborts the stream. */
  readonly writable: WritableStream<StreamChunk>;
  /** Resolves when the server confirmed the end; rejects when the stream failed or was aborted. */
  readonly completed: Promise<void>;
  readonly abort: (reason?: unknown) => void;
}

/** Close must not wait for a server that no longer answers. */
const CLOSE_TIMEOUT_MS = 2_000;

export class Connection implements AsyncDisposable {
  readonly remote: Calls<RemoteCalls>;
  readonly qemu: Calls<QemuCalls>;
  readonly lxc: Calls<LxcCalls>;
  readonly events: EventSource;
  /** The URI that connect() was given. */
  readonly uri: string;
  /** Resolves when the connection is gone; error is absent when close() was called here. */
  readonly closed: Promise<{ error?: Error }>;
  readonly #channel: Channel;
  readonly #sibling: (signal: AbortSignal | undefined) => Promise<Connection>;
  readonly #children = new Set<Connection>();

  /** Made by connect(). @param sibling opens another connection to the same daemon. */
  constructor(channel: Channel, uri: string, sibling: (signal: AbortSignal | undefined) => Promise<Connection>) {
    const invoke: Invoke = (program, name, entry, args, options) => channel.call(program, name, entry, args, options);
    this.#channel = channel;
    this.#sibling = sibling;
    this.uri = uri;
    this.closed = channel.closed;
    this.remote = bindCalls<RemoteCalls>(remoteProgram, invoke);
    this.qemu = bindCalls<QemuCalls>(qemuProgram, invoke);
    this.lxc = bindCalls<LxcCalls>(lxcProgram, invoke);
    this.events = new EventSource(channel, invoke);
  }

  /** Whether calls can still be made. */
  get isOpen(): boolean {
    return this.#channel.lost === null;
  }

  /** The signal covers the stream's whole life, the deadline only its opening. */
  async stream<Name extends keyof RemoteStreams>(
    name: Name,
    args: RemoteStreams[Name][0],
    options: StreamOptions = {},
  ): Promise<OpenStream<RemoteStreams[Name][1]>> {
    const isDedicated = options.isDedicated ?? !isBound(name, this.uri);
    if (!isDedicated) return this.#open(name, args, options);
    const child = await this.#sibling(options.signal);
    this.#children.add(child);
    const release = async (): Promise<void> => {
      await child.close();
      this.#children.delete(child);
    };
    try {
      if (!this.isOpen) throw this.#channel.lost;
      const opened = await child.#open(name, args, options);
      opened.completed.then(release, release);
      return opened;
    } catch (error) {
      await release();
      throw error;
    }
  }

  async #open<Name extends keyof RemoteStreams>(
    name: Name,
    args: RemoteStreams[Name][0],
    options: CallOptions,
  ): Promise<OpenStream<RemoteStreams[Name][1]>> {
    const entry = remoteProgram.procedures[name];
    if (entry === undefined) throw new TypeError(`no stream procedure ${name}`);
    let session: StreamSession | null = null;
    const ret = await this.#channel.openStream(remoteProgram, name, entry, args, options, (serial) => {
      session = new StreamSession(this.#channel, { program: remoteProgram, procedure: entry[0], name, serial });
      return session;
    });
    const open = session as StreamSession | null;
    if (open === null) throw new TypeError(`${name} was answered before it was sent`);
    open.opened(options.signal);
    const { readable, writable, completed } = open;
    return {
      ret: ret as RemoteStreams[Name][1],
      readable,
      writable,
      completed,
      abort: (reason) => open.abort(reason ?? new DOMException("the stream was aborted", "AbortError")),
    };
  }

  /** Says goodbye and ends everything that is pending with ConnectionLostError (reason "closed"). Never rejects. */
  async close(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.close()));
    const quiet = this.events.deregisterAll().then(() => this.#channel.idle());
    const waiting = new AbortController();
    const patience = delay(CLOSE_TIMEOUT_MS, undefined, { ref: false, signal: waiting.signal }).catch(() => undefined);
    await Promise.race([quiet, this.closed, patience]);
    waiting.abort();
    if (this.isOpen) await this.remote.connectClose({}, { timeoutMs: CLOSE_TIMEOUT_MS }).catch(() => undefined);
    this.#channel.fail("closed", "the connection was closed by this side");
    await this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Streams that need the very connection: an incoming migration lives and dies with the connection that prepared it, and
 * the test driver keeps the state of test:///file per connection.
 */
function isBound(name: string, uri: string): boolean {
  return (
    name.startsWith("domainMigratePrepareTunnel") || (/^test(?:\+\w+)?:/u.test(uri) && !/\/default(?:\?|$)/u.test(uri))
  );
}
