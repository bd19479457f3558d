// connect(): transport, authentication, open. The order of the first calls is that of libvirt's own client (doRemoteOpen).
import { VIR_CONNECT_RO } from "#generated/host-constant.ts";
import {
  VIR_DRV_FEATURE_PROGRAM_KEEPALIVE,
  VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK,
} from "#generated/internal-constant.ts";
import { Channel } from "#rpc/channel.ts";
import { ConnectError, ConnectionLostError } from "#rpc/error.ts";
import { abortReason } from "#rpc/pending-call.ts";
import { connectError } from "#transport/established.ts";
import { connectTcp } from "#transport/tcp.ts";
import { connectTls } from "#transport/tls.ts";
import { connectUnix, unixSocketPath } from "#transport/unix.ts";
import { parseUri } from "#transport/uri.ts";
import { authenticate } from "./authentication.ts";
import { Connection } from "./connection.ts";
import type { Duplex } from "node:stream";
import type { KeepaliveOptions } from "#rpc/keepalive.ts";
import type { SshOptions } from "#transport/ssh-credential.ts";
import type { TlsOptions } from "#transport/tls.ts";
import type { ConnectionUri } from "#transport/uri.ts";
import type { SaslOptions } from "./sasl-login.ts";

export interface ConnectOptions {
  /** Gives up connecting; of no effect on the open connection. */
  readonly signal?: AbortSignal;
  /** Deadline for everything until the connection is open. Default 15 s. */
  readonly timeoutMs?: number;
  /** Deadline of calls that name none. Default 120 s. */
  readonly callTimeoutMs?: number;
  readonly tls?: TlsOptions;
  readonly ssh?: SshOptions;
  /** For a daemon that demands a name and a password. */
  readonly sasl?: SaslOptions;
  /** Default: a ping after 5 s of silence, five unanswered ones end the connection (libvirt's own default). */
  readonly keepalive?: KeepaliveOptions | false;
  readonly readOnly?: boolean;
  /** Gives the byte stream to the daemon, in place of the URI's transport: a socket of one's own, an in-memory pipe. */
  readonly dial?: (signal: AbortSignal) => Promise<Duplex>;
  /** Requests in flight at once. Default 5: libvirtd's max_client_requests, beyond which it stops reading. */
  readonly maxRequests?: number;
}

const DEFAULT_TIMEOUT_MS = 15_000;
const DEFAULT_CALL_TIMEOUT_MS = 120_000;
const DEFAULT_MAX_REQUESTS = 5;
const DEFAULT_KEEPALIVE: KeepaliveOptions = { intervalMs: 5_000, count: 5 };

export async function connect(uriText: string, options: ConnectOptions = {}): Promise<Connection> {
  const uri = parseUri(uriText);
  return bounded(uri, options, dialer(uri, options), options.signal);
}

async function bounded(
  uri: ConnectionUri,
  options: ConnectOptions,
  dial: Dial,
  outer: AbortSignal | undefined,
): Promise<Connection> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  // AbortSignal.timeout would keep its timer, and what hangs on it, to its end.
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  const signal = outer === undefined ? deadline.signal : AbortSignal.any([outer, deadline.signal]);
  const target = describe(uri);
  try {
    if (signal.aborted) throw abortReason(signal);
    return await open(uri, target, options, dial, signal);
  } catch (error) {
    if (outer?.aborted === true) throw abortReason(outer);
    if (deadline.signal.aborted)
      throw new ConnectError("timeout", `${target}: no connection within ${timeoutMs} ms`, error);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function open(
  uri: ConnectionUri,
  target: string,
  options: ConnectOptions,
  dial: Dial,
  signal: AbortSignal,
): Promise<Connection> {
  const { socket, again } = await dial(signal);
  const channel = new Channel(socket, {
    callTimeoutMs: options.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS,
    maxRequests: options.maxRequests ?? DEFAULT_MAX_REQUESTS,
  });
  const connection = new Connection(channel, uri.text, (own) => bounded(uri, options, again, own));
  try {
    await handshake(connection, channel, uri, target, options, signal);
    return connection;
  } catch (error) {
    channel.fail("closed", "the connection was not opened");
    if (error instanceof ConnectionLostError) {
      if (error.reason === "disconnected" && error.cause instanceof Error) throw connectError(error.cause, target);
      // Whom libvirtd refuses here it answers; it ends the connection without a word when it dies, restarts or is full
      // (libvirt 9.0 virNetServerAddClient, max_clients).
      const failure = error.reason === "protocol" ? "protocol" : "unreachable";
      throw new ConnectError(failure, `${target}: ${error.message} before the connection was open`, error);
    }
    throw error;
  }
}

async function handshake(
  connection: Connection,
  channel: Channel,
  uri: ConnectionUri,
  target: string,
  options: ConnectOptions,
  signal: AbortSignal,
): Promise<void> {
  const { remote } = connection;
  // The deadline is in the signal.
  const call = { signal, timeoutMs: Number.POSITIVE_INFINITY };
  await authenticate(remote, uri, target, options.sasl, call);
  const keepalive = options.keepalive ?? DEFAULT_KEEPALIVE;
  if (keepalive !== false) {
    // Asking also tells the server that it may ping us.
    const { supported } = await remote.connectSupportsFeature({ feature: VIR_DRV_FEATURE_PROGRAM_KEEPALIVE }, call);
    if (supported === 1) channel.startKeepalive(keepalive);
  }
  await remote.connectOpen({ name: uri.name, flags: options.readOnly === true ? VIR_CONNECT_RO : 0 }, call);
  const { supported } = await remote.connectSupportsFeature({ feature: VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK }, call);
  if (supported !== 1) throw new ConnectError("protocol", `${target}: the daemon is older than libvirt 1.3.3`);
}

/** A socket to the daemon, and how to get another one (over what is there already, if the transport can). */
type Dial = (signal: AbortSignal) => Promise<{ readonly socket: Duplex; readonly again: Dial }>;

function dialer(uri: ConnectionUri, options: ConnectOptions): Dial {
  if (options.dial !== undefined) return repeated(options.dial);
  const isReadOnly = options.readOnly === true;
  switch (uri.transport) {
    case "unix":
      return repeated((signal) => connectUnix(unixSocketPath(uri, isReadOnly), signal));
    case "tcp":
      return repeated((signal) => connectTcp(uri, signal));
    case "tls":
      return repeated((signal) => connectTls(uri, options.tls ?? {}, signal));
    case "ssh":
      return async (signal) => {
        const { connectSsh } = await import("#transport/ssh.ts");
        const { socket, again } = await connectSsh(uri, options.ssh ?? {}, isReadOnly, signal);
        return { socket, again: repeated(again) };
      };
  }
}

function repeated(dial: (signal: AbortSignal) => Promise<Duplex>): Dial {
  const again: Dial = async (signal) => ({ socket: await dial(signal), again });
  return again;
}

function describe(uri: ConnectionUri): string {
  return uri.transport === "unix" ? uri.text : `${uri.host}${uri.port === null ? "" : `:${uri.port}`}`;
}
