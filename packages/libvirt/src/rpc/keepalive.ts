// Keepalive in both directions (virkeepaliveprotocol.x, src/rpc/virkeepalive.c): answers the server's pings, and pings
// the server when no message has arrived for an interval; `count` unanswered pings mean that the connection is dead.
// A message that is arriving holds up the answers to pings, so its bytes are life, too, but not for ever: a peer that
// sends a byte now and then and never ends its message is as dead as a silent one.
import {
  KEEPALIVE_PROC_PING,
  KEEPALIVE_PROC_PONG,
  KEEPALIVE_PROGRAM,
  KEEPALIVE_PROTOCOL_VERSION,
  VIR_NET_MESSAGE,
  VIR_NET_OK,
} from "#generated/protocol-constant.ts";
import { frameOf } from "#framing/message.ts";
import type { Message } from "#framing/message.ts";

export interface KeepaliveOptions {
  readonly intervalMs: number;
  readonly count: number;
  /** In which a message that began to arrive must be whole. Default 60 s: for the largest, 32 MiB, that is 4.5 Mbit/s. */
  readonly messageTimeoutMs?: number;
}

const MESSAGE_TIMEOUT_MS = 60_000;

export interface KeepaliveHost {
  /** False when the peer does not read: what was sent waits here. */
  send(frame: Buffer): boolean;
  /** Whether we ourselves stopped reading (a stream's consumer is slow): silence then says nothing about the server. */
  isPaused(): boolean;
  onDead(message: string): void;
}

function frame(procedure: number): Buffer {
  return frameOf({
    program: KEEPALIVE_PROGRAM,
    version: KEEPALIVE_PROTOCOL_VERSION,
    procedure,
    type: VIR_NET_MESSAGE,
    serial: 0,
    status: VIR_NET_OK,
  });
}

export class Keepalive {
  readonly #host: KeepaliveHost;
  #timer: NodeJS.Timeout | undefined;
  #isHeard = false;
  #isArriving = false;
  #arrivingMs = 0;
  #unanswered = 0;
  #isPongHeldUp = false;

  constructor(host: KeepaliveHost) {
    this.#host = host;
  }

  start({ intervalMs, count, messageTimeoutMs = MESSAGE_TIMEOUT_MS }: KeepaliveOptions): void {
    this.stop();
    this.#timer = setInterval(() => this.#tick(intervalMs, count, messageTimeoutMs), intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Any message proves life, as in virKeepAliveCheckMessage. */
  heard(): void {
    this.#isHeard = true;
    this.#isArriving = false;
    this.#arrivingMs = 0;
    this.#unanswered = 0;
  }

  /** Part of a message came. */
  arriving(): void {
    this.#isArriving = true;
  }

  /** One answer is enough for all pings of a peer that does not read answers. */
  receive(message: Message): void {
    if (message.procedure !== KEEPALIVE_PROC_PING || this.#isPongHeldUp) return;
    this.#isPongHeldUp = !this.#host.send(frame(KEEPALIVE_PROC_PONG));
  }

  /** The peer reads again. */
  drained(): void {
    this.#isPongHeldUp = false;
  }

  #tick(intervalMs: number, count: number, messageTimeoutMs: number): void {
    // While paused, a ping still tells the server that we live.
    if (this.#host.isPaused()) return void this.#host.send(frame(KEEPALIVE_PROC_PING));
    if (this.#isHeard) {
      this.#isHeard = false;
      return;
    }
    if (this.#isArriving) {
      this.#isArriving = false;
      this.#arrivingMs += intervalMs;
      if (this.#arrivingMs >= messageTimeoutMs)
        this.#host.onDead(`a message has been arriving for ${this.#arrivingMs} ms and has no end`);
      return;
    }
    if (this.#unanswered >= count)
      return this.#host.onDead(`no answer to ${count} keepalive pings, ${intervalMs} ms apart`);
    this.#unanswered += 1;
    this.#host.send(frame(KEEPALIVE_PROC_PING));
  }
}
