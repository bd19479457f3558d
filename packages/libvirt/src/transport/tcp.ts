// Plain TCP: for loopback and laboratories only, nothing is encrypted and nobody is authenticated.
import { createConnection } from "node:net";
import { established } from "./established.ts";
import type { Duplex } from "node:stream";
import type { ConnectionUri } from "./uri.ts";

/** LIBVIRTD_TCP_PORT of libvirt's src/remote/remote_driver.h. */
const PORT = 16_509;

export async function connectTcp(uri: ConnectionUri, signal: AbortSignal): Promise<Duplex> {
  const port = uri.port ?? PORT;
  const socket = createConnection({ host: uri.host, port, noDelay: true });
  return established(socket, "connect", `${uri.host} port ${port}`, signal);
}
