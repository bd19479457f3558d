/**
 * The console of a VM over WebSocket, in binary frames. It is opened before the upgrade, so that a refusal is an
 * HTTP answer with its reason. Each side is read only as fast as the other takes it. It ends with the session.
 */
import type { AccessControl, Principal } from "#management/access/access.ts";
import { AppError } from "#core/app-error.ts";
import type { ByteChannel } from "#core/byte-channel.ts";

/** What is used of a WebSocket of `ws` 8. */
export interface ConsoleSocket {
  send(data: Uint8Array, options: { binary: true }, sent: (error?: Error) => void): void;
  close(code: number, reason?: string): void;
  terminate(): void;
  ping(): void;
  pause(): void;
  resume(): void;
  on(event: "message", listener: (data: Buffer | ArrayBuffer | Buffer[]) => void): void;
  on(event: "close" | "pong", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
}

/** Without an answer to a ping for so long the peer is gone. */
const pingMs = 20_000;

/** Close codes: RFC 6455 §7.4.1. */
const closeCode = { normal: 1000, goingAway: 1001, policy: 1008, failed: 1011 } as const;

interface ConsoleSession {
  readonly access: AccessControl;
  readonly principal: Principal;
  readonly stop: AbortSignal;
}

/** Joins a socket with a console until either ends. */
export async function joinConsole(socket: ConsoleSocket, channel: ByteChannel, session: ConsoleSession): Promise<void> {
  const closed = new AbortController();
  const close = (code: number, reason: string): void => {
    if (closed.signal.aborted) return;
    closed.abort();
    socket.close(code, reason);
  };
  const { access, principal, stop } = session;
  const stopListening = access.onEnd(principal, () => close(closeCode.policy, "the session has ended"));
  const onStop = (): void => close(closeCode.goingAway, "the control plane is stopping");
  stop.addEventListener("abort", onStop, { once: true });
  let alive = true;
  const ping = setInterval(() => {
    if (!alive) socket.terminate();
    else if (!access.holds(principal)) close(closeCode.policy, "the session has ended");
    alive = false;
    if (!closed.signal.aborted) socket.ping();
  }, pingMs);
  socket.on("pong", () => (alive = true));
  socket.on("error", () => closed.abort());
  socket.on("close", () => closed.abort());
  const writer = channel.writable.getWriter();
  socket.on("message", (data) => {
    socket.pause();
    writer.write(asBytes(data)).then(
      () => socket.resume(),
      () => close(closeCode.goingAway, "the console has ended"),
    );
  });
  const reader = channel.readable.getReader();
  const onClosed = (): void => void reader.cancel().catch(() => undefined);
  closed.signal.addEventListener("abort", onClosed, { once: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || closed.signal.aborted) break;
      await sent(socket, value);
    }
    close(closeCode.normal, "the console has ended");
  } catch (error) {
    close(closeCode.failed, error instanceof AppError ? error.message.slice(0, 100) : "the console was lost");
  } finally {
    clearInterval(ping);
    stopListening();
    stop.removeEventListener("abort", onStop);
    await writer.close().catch(() => undefined);
  }
}

/** Lets go of a console that nobody took. */
export async function discardConsole(channel: ByteChannel): Promise<void> {
  await channel.readable.cancel().catch(() => undefined);
  await channel.writable.abort().catch(() => undefined);
}

function sent(socket: ConsoleSocket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(bytes, { binary: true }, (error) =>
      error === undefined || error === null ? resolve() : reject(error),
    );
  });
}

function asBytes(data: Buffer | ArrayBuffer | Buffer[]): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
