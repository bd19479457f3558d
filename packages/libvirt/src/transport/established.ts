// Waits until a socket is connected; translates the ways in which it fails.
import { ConnectError } from "#rpc/error.ts";
import type { Socket } from "node:net";
import type { ConnectFailure } from "#rpc/error.ts";

export async function established<S extends Socket>(
  socket: S,
  event: "connect" | "secureConnect",
  target: string,
  signal: AbortSignal,
): Promise<S> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  const onClose = (): void => reject(new ConnectError("unreachable", `${target}: the connection was closed`));
  const onError = (error: Error): void => reject(connectError(error, target));
  signal.addEventListener("abort", onAbort, { once: true });
  socket.once(event, resolve).once("error", onError).once("close", onClose);
  try {
    if (signal.aborted) throw signal.reason;
    await promise;
    return socket;
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.off(event, resolve).off("error", onError).off("close", onClose);
  }
}

/** Texts for what Node's and OpenSSL's codes mean to an administrator. */
const TEXTS: Readonly<Record<string, string>> = {
  ENOENT: "no such socket: is libvirtd running?",
  ECONNREFUSED: "connection refused: is libvirtd running and listening there?",
  EACCES: "permission denied for the socket",
  ENOTFOUND: "no such host name",
  EAI_AGAIN: "the host name cannot be resolved now",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "no answer from the host",
  ECONNRESET: "the host closed the connection",
};

const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO|ISSUER|ALTNAME|^ERR_SSL_|HOSTNAME_MISMATCH/u;

export function connectError(error: Error, target: string): ConnectError {
  if (error instanceof ConnectError) return error;
  const inner = error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : error;
  const code = "code" in inner && typeof inner.code === "string" ? inner.code : "";
  const failure: ConnectFailure = CERTIFICATE.test(code) ? "certificate" : "unreachable";
  return new ConnectError(failure, `${target}: ${TEXTS[code] ?? inner.message}`, error);
}
