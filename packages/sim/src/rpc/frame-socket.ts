// A connection's byte stream as frames, in both directions, with the back pressure of both. Frames that are sent in one
// turn of the event loop leave in one write.
import { FrameReader } from "@innkeeper/libvirt/framing/frame-reader.ts";
import type { Duplex } from "node:stream";
import type { Message } from "@innkeeper/libvirt/framing/message.ts";

export class FrameSocket {
  readonly #socket: Duplex;
  readonly #pausedBy = new Set<object>();
  readonly #onClosed: () => void;
  #isClosed = false;
  #isCorked = false;
  #undrained: (() => void)[] = [];
  /** What is sent while nothing gets through; null: all does. */
  #held: Buffer[] | null = null;
  /** Bytes that may still leave before the connection is cut; a fault. */
  #budget = Number.POSITIVE_INFINITY;

  /** @param deliver gets each message; what it throws breaks the connection, as a broken frame does. */
  constructor(socket: Duplex, deliver: (message: Message) => void, onClosed: () => void) {
    this.#socket = socket;
    this.#onClosed = onClosed;
    const reader = new FrameReader(deliver);
    socket.on("data", (chunk: Buffer) => {
      try {
        if (!this.#isClosed) reader.push(chunk);
      } catch {
        this.close();
      }
    });
    socket.on("drain", () => this.#wakeUp());
    socket.on("error", () => this.close());
    socket.on("end", () => this.close());
    socket.on("close", () => this.close());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** False when the peer does not read: await drained(). */
  send(frame: Buffer): boolean {
    if (this.#isClosed) return true;
    if (this.#held !== null) {
      this.#held.push(frame);
      return true;
    }
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    if (frame.byteLength > this.#budget) return this.#cut(frame);
    this.#budget -= frame.byteLength;
    return this.#socket.write(frame);
  }

  /** Resolves when the socket takes more, or is gone. */
  drained(): Promise<void> {
    if (this.#isClosed || !this.#socket.writableNeedDrain) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#undrained.push(resolve);
    return promise;
  }

  pause(by: object): void {
    this.#pausedBy.add(by);
    this.#socket.pause();
  }

  resume(by: object): void {
    if (this.#pausedBy.delete(by) && this.#pausedBy.size === 0) this.#socket.resume();
  }

  get isPaused(): boolean {
    return this.#pausedBy.size > 0;
  }

  /** Nothing is read, and nothing that is sent arrives, until release(): what a cable does that is pulled. */
  hold(): void {
    this.pause(this);
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const frame of held) this.send(frame);
    this.resume(this);
  }

  /** The connection breaks in the middle of what is sent once so many more bytes have left. */
  cutAfter(byteCount: number): void {
    this.#budget = byteCount;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#wakeUp();
    this.#onClosed();
  }

  #cut(frame: Buffer): boolean {
    const rest = frame.subarray(0, this.#budget);
    this.#budget = 0;
    this.#socket.end(rest, () => this.close());
    return true;
  }

  #wakeUp(): void {
    const waiting = this.#undrained;
    this.#undrained = [];
    for (const resolve of waiting) resolve();
  }
}
