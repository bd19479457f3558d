// A proxy before a real daemon's local socket or port, for tests of what daemons and networks do when they misbehave: byte by
// byte (cut, delay, repeat, alter), or message by message (hide a procedure, alter an answer, add an event).
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameReader } from "#framing/frame-reader.ts";
import { frameOf } from "#framing/message.ts";
import type { Message } from "#framing/message.ts";

export interface ProxyLink {
  toClient(bytes: Uint8Array): void;
  toDaemon(bytes: Uint8Array): void;
  /** Ends both connections. */
  cut(): void;
}

/** What becomes of the bytes of one client. */
export interface Tap {
  fromClient(bytes: Buffer): void;
  fromDaemon(bytes: Buffer): void;
}

export interface Proxy extends AsyncDisposable {
  /** Where the proxy before a local socket listens. */
  readonly socket: string;
  /** Where the proxy before a port listens, on 127.0.0.1; else 0. */
  readonly port: number;
  /** Clients connected now. */
  readonly clientCount: number;
}

/** @param daemonAt the daemon's local socket, or its port on 127.0.0.1. */
export async function startProxy(daemonAt: string | number, tapOf: (link: ProxyLink) => Tap): Promise<Proxy> {
  const folder = await mkdtemp(join(tmpdir(), "innkeeper-proxy-"));
  const socket = join(folder, "sock");
  const cuts = new Set<() => void>();
  const server = createServer((client) => {
    const daemon =
      typeof daemonAt === "string" ? createConnection({ path: daemonAt }) : createConnection({ port: daemonAt });
    const cut = (): void => {
      client.destroy();
      daemon.destroy();
      cuts.delete(cut);
    };
    cuts.add(cut);
    const tap = tapOf({
      toClient: (bytes) => void (client.writable && client.write(bytes)),
      toDaemon: (bytes) => void (daemon.writable && daemon.write(bytes)),
      cut,
    });
    client.on("data", (bytes: Buffer) => tap.fromClient(bytes));
    daemon.on("data", (bytes: Buffer) => tap.fromDaemon(bytes));
    for (const each of [client, daemon]) each.on("error", cut).on("close", cut);
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  if (typeof daemonAt === "string") server.listen(socket, resolve);
  else server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  return {
    socket,
    port: typeof address === "object" && address !== null ? address.port : 0,
    get clientCount() {
      return cuts.size;
    },
    [Symbol.asyncDispose]: async () => {
      for (const cut of cuts) cut();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface MessageTap {
  /** Returns the answer to a client's message when it is not to reach the daemon. */
  call?(message: Message): Message | undefined;
  /** Returns what is passed on instead of a daemon's message. */
  answer?(message: Message): readonly Message[] | undefined;
}

export function messageTap(link: ProxyLink, tap: MessageTap): Tap {
  const calls = new FrameReader((message) => {
    const answer = tap.call?.(message);
    if (answer === undefined) link.toDaemon(frameOf(message, message.payload));
    else link.toClient(frameOf(answer, answer.payload));
  });
  const answers = new FrameReader((message) => {
    for (const each of tap.answer?.(message) ?? [message]) link.toClient(frameOf(each, each.payload));
  });
  return {
    fromClient: (bytes) => calls.push(bytes),
    fromDaemon: (bytes) => answers.push(bytes),
  };
}
