/**
 * What a server of TLS answers to who speaks plain HTTP: a sentence, instead of a cut connection. Nothing of such a request
 * is looked at but its first byte; it is never redirected, for clients would send their secrets in the clear each time.
 */
import type { Server, Socket } from "node:net";
import { AppError } from "#core/app-error.ts";
import type { Unread } from "#rest/audit.ts";
import { answerAndClose } from "#rest/client-error.ts";

/** ContentType handshake(22): RFC 8446 §5.1. */
const tlsHandshake = 22;
const firstByteTimeoutMs = 10_000;

/** Puts itself before the server's own handling of connections. */
export function answerPlainRequests(server: Server, onRefused: (refused: Unread) => void): void {
  const handlers = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    const drop = (): void => void socket.destroy();
    socket.setTimeout(firstByteTimeoutMs, drop);
    socket.once("error", drop);
    socket.once("end", drop);
    const onReadable = (): void => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) return;
      socket.off("readable", onReadable);
      socket.off("error", drop);
      socket.off("end", drop);
      socket.setTimeout(0);
      socket.off("timeout", drop);
      if (first[0] !== tlsHandshake) return onRefused(refuse(socket));
      socket.unshift(first);
      for (const handle of handlers) handle.call(server, socket);
    };
    socket.on("readable", onReadable);
  });
}

function refuse(socket: Socket): Unread {
  const error = new AppError("bad_request", "This port speaks TLS, the request came unencrypted. Nothing was read.", {
    remedy: "Use https:// instead of http://. If a password or token was sent, change it: it went in the clear.",
  });
  return answerAndClose(socket, "400 Bad Request", error);
}
