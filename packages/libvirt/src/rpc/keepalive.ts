// Keepalive in both directions (virkeepaliveprotocol.x, src/rpc/virkeepalive.c): answers the server's pings, and pings
// the server when nothing has arrived for an interval; `count` unanswered pings mean that the connection is dead.
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
}

export interface KeepaliveHost {
  send(frame: Buffer): void;
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
  #unanswered = 0;

  constructor(host: KeepaliveHost) {
    this.#host = host;
  }

  start({ intervalMs, count }: KeepaliveOptions): void {
    this.stop();
    this.#timer = setInterval(() => this.#tick(intervalMs, count), intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Anything that arrives proves life, as in virKeepAliveCheckMessage. */
  heard(): void {
    this.#isHeard = true;
    this.#unanswered = 0;
  }

  receive(message: Message): void {
    if (message.procedure === KEEPALIVE_PROC_PING) this.#host.send(frame(KEEPALIVE_PROC_PONG));
  }

  #tick(intervalMs: number, count: number): void {
    // While paused, a ping still tells the server that we live.
    if (this.#host.isPaused()) return this.#host.send(frame(KEEPALIVE_PROC_PING));
    if (this.#isHeard) {
      this.#isHeard = false;
      return;
    }
    if (this.#unanswered >= count)
      return this.#host.onDead(`no answer to ${count} keepalive pings, ${intervalMs} ms apart`);
    this.#unanswered += 1;
    this.#host.send(frame(KEEPALIVE_PROC_PING));
  }
}
