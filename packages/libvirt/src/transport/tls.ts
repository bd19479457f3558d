// TLS with certificates on both sides (https://libvirt.org/kbase/tlscerts.html, src/rpc/virnettlscontext.c). The server's
// certificate must be signed by the CA and name the host that was asked for, by DNS name or by IP address. After the
// handshake libvirtd sends one byte: 1 when it accepts our certificate; else it closes the connection, without a word. So
// does a daemon that dies: what was closed without a word is tried once more, and only who refuses does it again.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { checkServerIdentity, connect } from "node:tls";
import { ConnectError } from "#rpc/error.ts";
import { connectError, established } from "./established.ts";
import type { Duplex } from "node:stream";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import type { ConnectionUri } from "./uri.ts";

/** LIBVIRTD_TLS_PORT of libvirt's src/remote/remote_driver.h. */
const PORT = 16_514;

export interface TlsOptions {
  /** PEM texts. What is missing is read where libvirt's own client reads it: ?pkipath=, ~/.pki/libvirt, /etc/pki. */
  readonly ca?: string | Uint8Array;
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /** The name the server's certificate must carry, when it is not the host of the URI. */
  readonly serverName?: string;
}

export async function connectTls(uri: ConnectionUri, options: TlsOptions, signal: AbortSignal): Promise<Duplex> {
  const port = uri.port ?? PORT;
  const target = `${uri.host} port ${port}`;
  const name = options.serverName ?? uri.host;
  const isVerified = !isTrue(uri.parameters.get("no_verify"));
  const settings: ConnectionOptions = {
    host: uri.host,
    port,
    ...(await credentials(uri, options)),
    ...(isIP(name) === 0 ? { servername: name } : {}),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
    rejectUnauthorized: isVerified,
    minVersion: "TLSv1.2",
  };
  try {
    return await confirmedSocket(settings, target, signal);
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error;
  }
  try {
    return await confirmedSocket(settings, target, signal);
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error;
    throw new ConnectError("certificate", `${target}: the server refused the client's certificate`, error);
  }
}

/** The peer closed the connection after the handshake, instead of its verdict. */
class ClosedError extends Error {
  override readonly name = "ClosedError";
}

async function confirmedSocket(settings: ConnectionOptions, target: string, signal: AbortSignal): Promise<TLSSocket> {
  let socket: TLSSocket;
  try {
    socket = connect(settings);
  } catch (error) {
    throw new ConnectError(
      "certificate",
      `the client's certificate or key: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  }
  socket.setNoDelay(true);
  // One TLS record per message: of a record with several, libvirtd (9.0) takes the first and leaves the others in
  // GnuTLS's buffer until the next record arrives, which may be a keepalive ping seconds later. Without _writev, the
  // stream writes queued chunks one by one instead of joined.
  Object.defineProperty(socket, "_writev", { value: undefined });
  await established(socket, "secureConnect", target, signal);
  await confirmed(socket, target, signal);
  return socket;
}

/** virNetTLSSessionHandshake's epilogue (virNetClientTLSHandshake): the one-byte verdict on our certificate. */
async function confirmed(socket: TLSSocket, target: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const refused = (why: string, cause?: Error): void =>
    reject(new ConnectError("certificate", `${target}: the server refused the client's certificate (${why})`, cause));
  const onReadable = (): void => {
    const verdict: unknown = socket.read(1);
    if (!(verdict instanceof Uint8Array)) return;
    if (verdict[0] === 1) resolve();
    else refused(`it answered ${verdict[0]}`);
  };
  const onError = (error: Error): void => {
    const code = String("code" in error ? error.code : "");
    if (/ALERT|EPROTO/u.test(code)) refused(error.message, error);
    else if (code === "ECONNRESET") reject(new ClosedError(error.message, { cause: error }));
    else reject(connectError(error, target));
  };
  const onEnd = (): void => reject(new ClosedError("the end of the connection came instead of a verdict"));
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  socket.on("readable", onReadable).once("error", onError).once("end", onEnd);
  onReadable();
  try {
    await promise;
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.off("readable", onReadable).off("error", onError).off("end", onEnd);
  }
}

interface Credentials {
  ca: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
}

async function credentials(uri: ConnectionUri, options: TlsOptions): Promise<Credentials> {
  const paths = pkiPaths(uri);
  const [ca, cert, key] = await Promise.all([
    pem(options.ca, paths.ca, true),
    pem(options.cert, paths.cert, options.key !== undefined),
    pem(options.key, paths.key, options.cert !== undefined),
  ]);
  return { ca: ca ?? "", ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
}

async function pem(
  given: string | Uint8Array | undefined,
  path: string,
  isNeeded: boolean,
): Promise<string | Buffer | undefined> {
  if (given !== undefined) return typeof given === "string" ? given : Buffer.from(given);
  try {
    return await readFile(path);
  } catch (error) {
    if (!isNeeded) return undefined;
    throw new ConnectError(
      "certificate",
      `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  }
}

/** A folder of the user's own goes before the system's, except for root (virNetTLSContextLocateCredentials). */
function pkiPaths(uri: ConnectionUri): { ca: string; cert: string; key: string } {
  const own = join(homedir(), ".pki/libvirt");
  const flat = uri.parameters.get("pkipath") ?? (process.geteuid?.() !== 0 && existsSync(own) ? own : undefined);
  if (flat !== undefined) {
    return { ca: join(flat, "cacert.pem"), cert: join(flat, "clientcert.pem"), key: join(flat, "clientkey.pem") };
  }
  return {
    ca: "/etc/pki/CA/cacert.pem",
    cert: "/etc/pki/libvirt/clientcert.pem",
    key: "/etc/pki/libvirt/private/clientkey.pem",
  };
}

function isTrue(text: string | undefined): boolean {
  return text !== undefined && text !== "" && text !== "0";
}
