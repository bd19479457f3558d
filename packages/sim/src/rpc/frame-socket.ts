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
  /** Faults: who lets nothing through, and what was sent meanwhile. */
  readonly #heldBy = new Set<object>();
  #held: Buffer[] = [];
  /** Faults: bytes that may still leave before the connection is cut, by who cuts it. */
  readonly #budgets = new Map<object, number>();

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
    if (this.#isClosed || this.#socket.writableEnded) return true;
    if (this.#heldBy.size > 0) {
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
    const budget = Math.min(...this.#budgets.values());
    if (frame.byteLength > budget) return this.#cut(frame.subarray(0, budget));
    for (const [by, left] of this.#budgets) this.#budgets.set(by, left - frame.byteLength);
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
  hold(by: object): void {
    this.#heldBy.add(by);
    this.pause(this.#heldBy);
  }

  /** The connection breaks in the middle of what is sent once so many more bytes have left, or until release(). */
  cutAfter(byteCount: number, by: object): void {
    this.#budgets.set(by, byteCount);
  }

  /** Neither held nor cut by this one any more; by others still. */
  release(by: object): void {
    this.#budgets.delete(by);
    if (!this.#heldBy.delete(by) || this.#heldBy.size > 0) return;
    const held = this.#held;
    this.#held = [];
    for (const frame of held) this.send(frame);
    this.resume(this.#heldBy);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#wakeUp();
    this.#onClosed();
  }

  #cut(last: Buffer): boolean {
    this.#socket.end(last, () => this.close());
    return true;
  }

  #wakeUp(): void {
    const waiting = this.#undrained;
    this.#undrained = [];
    for (const resolve of waiting) resolve();
  }
}
