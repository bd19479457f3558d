// A scripted peer for tests of what no real libvirtd does: it answers the opening calls like a daemon and hands every
// other message to the test, which may answer whatever it likes, byte by byte.
import { createServer } from "node:net";
import { encode } from "#codec/encode.ts";
import { XdrWriter } from "#codec/xdr-writer.ts";
import { FrameReader } from "#framing/frame-reader.ts";
import { frameOf } from "#framing/message.ts";
import { KEEPALIVE_PROGRAM, VIR_NET_ERROR, VIR_NET_OK, VIR_NET_REPLY } from "#generated/protocol-constant.ts";
import { remoteProgram } from "#generated/remote-procedure.ts";
import { schema } from "#rpc/protocol.ts";
import type { Socket } from "node:net";
import type { Message } from "#framing/message.ts";

export interface Peer {
  readonly socket: Socket;
  /** Sends a reply to a call: the result struct's value, or an error's code. */
  reply(call: Message, struct: string | null, value?: unknown): void;
  error(call: Message, code: number): void;
}

export type Script = (message: Message, peer: Peer) => void;

const NUMBERS = new Map(Object.entries(remoteProgram.procedures).map(([name, [number]]) => [number, name]));

export function procedureName(message: Message): string {
  return message.program === remoteProgram.number ? (NUMBERS.get(message.procedure) ?? "") : "";
}

export function encoded(struct: string, value: unknown): Buffer {
  const writer = new XdrWriter(1_048_576);
  encode(writer, schema.type(struct), value);
  return writer.written();
}

export interface FakeServer extends AsyncDisposable {
  readonly uri: string;
  /** Those that are connected now. */
  readonly peers: readonly Peer[];
}

/** @param before sees every message first; true: it has seen to it, also to an opening call. */
export async function fakeServer(
  script: Script,
  before: (message: Message, peer: Peer) => boolean = () => false,
): Promise<FakeServer> {
  const peers: Peer[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    const peer: Peer = {
      socket,
      reply: (call, struct, value) =>
        void socket.write(
          frameOf(
            { ...call, type: VIR_NET_REPLY, status: VIR_NET_OK },
            struct === null ? undefined : encoded(struct, value),
          ),
        ),
      error: (call, code) => {
        const error = {
          code,
          domain: 0,
          message: "scripted",
          level: 2,
          dom: null,
          str1: null,
          str2: null,
          str3: null,
          int1: 0,
          int2: 0,
          net: null,
        };
        socket.write(
          frameOf({ ...call, type: VIR_NET_REPLY, status: VIR_NET_ERROR }, encoded("NetMessageError", error)),
        );
      },
    };
    peers.push(peer);
    socket.on("close", () => void peers.splice(peers.indexOf(peer), 1));
    const reader = new FrameReader((message) => {
      if (!before(message, peer) && !opening(message, peer)) script(message, peer);
    });
    socket.on("data", (chunk: Buffer) => reader.push(chunk));
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    uri: `test+tcp://127.0.0.1:${port}/default`,
    peers,
    [Symbol.asyncDispose]: async () => {
      for (const { socket } of peers) socket.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

function opening(message: Message, peer: Peer): boolean {
  if (message.program === KEEPALIVE_PROGRAM) return false;
  switch (procedureName(message)) {
    case "authList":
      peer.reply(message, "AuthListRet", { types: [0] });
      return true;
    case "connectSupportsFeature":
      peer.reply(message, "ConnectSupportsFeatureRet", { supported: 1 });
      return true;
    case "connectOpen":
    case "connectClose":
      peer.reply(message, null);
      return true;
    default:
      return false;
  }
}
