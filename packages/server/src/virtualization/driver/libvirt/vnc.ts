/**
 * The way to a guest's VNC server. libvirt can hand one over only as a file descriptor on its local socket
 * (virDomainOpenGraphicsFD), which does not cross a network; so the server is reached where it listens: on this machine,
 * or on an address of the host's. On a host's loopback there is no way over libvirt's own protocol.
 */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { Readable, Writable } from "node:stream";
import { parseUri } from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { ByteChannel } from "#core/byte-channel.ts";
import { attribute, child, children, wholeNumber } from "./domain-xml/element.ts";

const connectDeadlineMs = 5000;

type VncEndpoint = { readonly path: string } | { readonly host: string; readonly port: number };

/** Where the running guest's VNC server is to be reached from here; AppError unsupported with the reason if nowhere. */
export function vncEndpoint(root: ReadElement, hostUri: string): VncEndpoint {
  const graphics = children(child(root, "devices"), "graphics").find((each) => attribute(each, "type") === "vnc");
  if (graphics === undefined) {
    throw new AppError("unsupported", "The VM has no VNC server.", { remedy: "Give it graphics vnc." });
  }
  const uri = parseUri(hostUri);
  const isHere = uri.transport === "unix";
  const listen = child(graphics, "listen");
  const path = attribute(listen, "socket") ?? attribute(graphics, "socket");
  if (path !== undefined) {
    if (isHere) return { path };
    throw unreachable("a socket of the host's");
  }
  const port = wholeNumber(attribute(graphics, "port"));
  if (port === undefined || port === 0) throw new AppError("unsupported", "The VM's VNC server listens nowhere.");
  const address = attribute(listen, "address") ?? attribute(graphics, "listen") ?? "127.0.0.1";
  if (isHere) return { host: isAny(address) ? "127.0.0.1" : address, port };
  if (address.startsWith("127.") || address === "::1") throw unreachable(`the host's loopback address ${address}`);
  return { host: isAny(address) ? uri.host : address, port };
}

function isAny(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

function unreachable(where: string): AppError {
  return new AppError("unsupported", `The VM's VNC server listens on ${where}, which can't be reached from here.`, {
    remedy: "Use the serial console or screenshots, or a tunnel: ssh -L 5900:127.0.0.1:<port> <host>.",
  });
}

/** Raw RFB; ends with the signal. */
export async function openVnc(endpoint: VncEndpoint, signal: AbortSignal): Promise<ByteChannel> {
  const socket: Socket = connect(endpoint);
  try {
    await once(socket, "connect", { signal: AbortSignal.any([signal, AbortSignal.timeout(connectDeadlineMs)]) });
  } catch (error) {
    socket.destroy();
    const reason = error instanceof Error ? error.message : String(error);
    throw new AppError("host_unreachable", `The VM's VNC server can't be reached: ${reason}`, { cause: error });
  }
  socket.setNoDelay(true);
  const end = (): void => void socket.destroy();
  signal.addEventListener("abort", end, { once: true });
  socket.once("close", () => signal.removeEventListener("abort", end));
  // A reset is seen by the streams; without a listener it would end the process.
  socket.on("error", () => {});
  return {
    readable: Readable.toWeb(socket) as ReadableStream<Uint8Array>,
    writable: Writable.toWeb(socket) as WritableStream<Uint8Array>,
  };
}
