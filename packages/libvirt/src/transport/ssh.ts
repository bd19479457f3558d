// SSH by the ssh2 package, which is loaded only when an SSH URI is used. One SSH session carries the connection and, in
// further channels, the connections of its streams; it ends with the last of them.
import { ConnectError } from "#rpc/error.ts";
import { NONE, THROUGH, remoteEnd } from "./ssh-command.ts";
import { sshCredentials } from "./ssh-credential.ts";
import { SshDuplex } from "./ssh-duplex.ts";
import { HostKeyCheck } from "./ssh-host-key.ts";
import type { Duplex } from "node:stream";
import type { Client, ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from "ssh2";
import type { RemoteEnd } from "./ssh-command.ts";
import type { Credentials, SshOptions } from "./ssh-credential.ts";
import type { ConnectionUri } from "./uri.ts";

/** Of what the login shell says before the script does. */
const SAID_MAX = 16_384;

/** Dialing again reuses what the first dialing made. */
export type Dial = (signal: AbortSignal) => Promise<Duplex>;

export interface SshDialed {
  readonly socket: Duplex;
  readonly again: Dial;
}

export async function connectSsh(
  uri: ConnectionUri,
  options: SshOptions,
  isReadOnly: boolean,
  signal: AbortSignal,
): Promise<SshDialed> {
  if (uri.parameters.has("command")) throw new ConnectError("uri", "command= is not supported: SSH is built in here");
  const session = await SshSession.open(uri, options, signal);
  try {
    const end = remoteEnd(uri, isReadOnly);
    const socket = await session.channel(end, signal);
    const again: Dial = async (own) => {
      try {
        return await session.channel(end, own);
      } catch (error) {
        if (own.aborted) throw error;
        // sshd limits the channels of one session (MaxSessions, 10 by default).
        return (await connectSsh(uri, options, isReadOnly, own)).socket;
      }
    };
    return { socket, again };
  } catch (error) {
    session.end();
    throw error;
  }
}

class SshSession {
  readonly #client: Client;
  readonly #target: string;
  #channels = 0;

  private constructor(client: Client, target: string) {
    this.#client = client;
    this.#target = target;
  }

  static async open(uri: ConnectionUri, options: SshOptions, signal: AbortSignal): Promise<SshSession> {
    const { default: ssh2 } = await import("ssh2");
    const port = uri.port ?? 22;
    const target = `${uri.host} port ${port} (SSH)`;
    const check = await HostKeyCheck.prepare(uri, port, options);
    const credentials = await sshCredentials(uri, options, ssh2.utils.parseKey);
    const client = new ssh2.Client();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    client.once("ready", resolve);
    // Stays: an error after the session is open shows on its channels too.
    client.on("error", (error: Error) => reject(check.refusal ?? sshError(error, target, credentials)));
    client.once("close", () =>
      reject(check.refusal ?? new ConnectError("unreachable", `${target}: the connection was closed`)),
    );
    await ending(
      promise,
      signal,
      () => client.destroy(),
      () => client.connect(configuration(uri.host, port, check, credentials)),
    );
    return new SshSession(client, target);
  }

  async channel(end: RemoteEnd, signal: AbortSignal): Promise<Duplex> {
    this.#channels += 1;
    try {
      const socket =
        (await this.#program(end.command, signal)) ?? new SshDuplex(await this.#forward(end.socket, signal));
      socket.once("close", () => this.#release());
      return socket;
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  #release(): void {
    this.#channels -= 1;
    if (this.#channels === 0) this.end();
  }

  /** Null when the host has no program that reaches the daemon. */
  async #program(command: string, signal: AbortSignal): Promise<Duplex | null> {
    const channel = await this.#exec(command, signal);
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    let said = "";
    const onSaid = (chunk: Buffer): void => {
      said = (said + chunk.toString("utf8")).slice(-SAID_MAX);
      // A login shell may say things of its own before.
      if (said.includes(`${THROUGH}\n`)) resolve(true);
      else if (said.includes(`${NONE}\n`)) resolve(false);
    };
    const onClose = (): void =>
      reject(
        new ConnectError("unreachable", `${this.#target}: the far side ended: ${said.trim() || "without a word"}`),
      );
    channel.stderr.on("data", onSaid);
    channel.once("close", onClose);
    const isThrough = await ending(promise, signal, () => channel.close());
    channel.stderr.off("data", onSaid);
    channel.off("close", onClose);
    if (isThrough) return new SshDuplex(channel, said.slice(said.indexOf(THROUGH) + THROUGH.length + 1));
    channel.close();
    return null;
  }

  end(): void {
    this.#client.end();
  }

  #exec(command: string, signal: AbortSignal): Promise<ClientChannel> {
    return this.#opening((done) => this.#client.exec(command, done), signal);
  }

  #forward(path: string, signal: AbortSignal): Promise<ClientChannel> {
    return this.#opening((done) => this.#client.openssh_forwardOutStreamLocal(path, done), signal);
  }

  async #opening(
    start: (done: (error: Error | undefined, channel: ClientChannel) => void) => void,
    signal: AbortSignal,
  ): Promise<ClientChannel> {
    const { promise, resolve, reject } = Promise.withResolvers<ClientChannel>();
    start((error, channel) => {
      if (error !== undefined && error !== null)
        reject(new ConnectError("unreachable", `${this.#target}: ${error.message}`, error));
      else resolve(channel);
    });
    return ending(
      promise,
      signal,
      () =>
        void promise.then(
          (channel) => channel.close(),
          () => undefined,
        ),
    );
  }
}

function configuration(
  host: string,
  port: number,
  check: HostKeyCheck,
  { username, methods }: Credentials,
): ConnectConfig {
  const known = check.types
    .flatMap((type) => (type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type]))
    .filter(isUsable);
  return {
    host,
    port,
    username,
    authHandler: methods,
    readyTimeout: 0,
    hostVerifier: (key: Buffer, verify: (isValid: boolean) => void) => {
      check.accepts(key).then(verify, () => verify(false));
    },
    // "prepend" keeps the rest of ssh2's list; a type it does not know would be an error.
    ...(known.length === 0 ? {} : { algorithms: { serverHostKey: { prepend: known, append: [], remove: [] } } }),
  };
}

function isUsable(type: string): type is ServerHostKeyAlgorithm {
  return /^(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|rsa-sha2-(?:256|512))$/u.test(type);
}

function sshError(error: Error, target: string, credentials: Credentials): ConnectError {
  const level = "level" in error ? error.level : "";
  if (level === "client-authentication" || level === "agent") {
    const notes = credentials.notes.map((note) => `; ${note}`).join("");
    return new ConnectError(
      "authentication",
      `${target}: the host accepts none of our keys or passwords for user ${credentials.username}${notes}`,
      error,
    );
  }
  return new ConnectError("unreachable", `${target}: ${error.message}`, error);
}

/** Awaits with an end: an abort cleans up and rejects. */
async function ending<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  cleanUp: () => void,
  start?: () => void,
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal.aborted) throw signal.reason;
    start?.();
    return await Promise.race([promise, aborted]);
  } catch (error) {
    promise.catch(() => undefined);
    cleanUp();
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
