// What a libvirtd says of our certificate after the handshake, by a TLS server that does what the test wants: no real
// daemon dies at that instant when asked.
import { strict as assert } from "node:assert";
import { mkdtempDisposable } from "node:fs/promises";
import { createServer } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Authority, readPem } from "#testing/certificate.ts";
import { connectTls } from "./tls.ts";
import { parseUri } from "./uri.ts";
import type { AddressInfo } from "node:net";
import type { Server, TLSSocket } from "node:tls";

const accept = (socket: TLSSocket): void => void socket.end(Buffer.of(1));
const refuse = (socket: TLSSocket): void => void socket.write(Buffer.of(0));
const close = (socket: TLSSocket): void => void socket.end();
const reset = (socket: TLSSocket): void => void socket.destroy();

describe("the verdict on a client's certificate", { timeout: 60_000 }, () => {
  let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
  let client: ReturnType<typeof readPem>;
  let server: Server;
  let answers: ((socket: TLSSocket) => void)[] = [];

  before(async () => {
    folder = await mkdtempDisposable(join(tmpdir(), "innkeeper-verdict-"));
    const authority = new Authority(folder.path, "ours");
    client = readPem(authority.issue("client", [], "clientAuth"));
    const { cert, key, ca } = readPem(authority.issue("server", ["IP:127.0.0.1"], "serverAuth"));
    server = createServer({ cert, key, ca, requestCert: true }, (socket) => {
      socket.on("error", () => undefined);
      answers.shift()?.(socket);
    });
  });
  after(async () => {
    server?.close();
    await folder?.remove();
  });

  /** Each connection gets the next answer. */
  async function open(...script: typeof answers): Promise<unknown> {
    answers = script;
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const uri = parseUri(`qemu+tls://127.0.0.1:${port}/system`);
      const socket = await connectTls(uri, client, AbortSignal.timeout(20_000)).catch((error: unknown) => error);
      if (socket instanceof Error) return socket;
      Reflect.get(Object(socket), "destroy").call(socket);
      return "accepted";
    } finally {
      if (server.listening) server.close();
    }
  }

  /** The process is gone: nothing listens any more. */
  const die = (how: typeof close) => (socket: TLSSocket) => {
    server.close();
    how(socket);
  };

  test("one that is accepted", async () => assert.equal(await open(accept), "accepted"));
  test("one that is refused by a byte, or by closing each time", async () => {
    for (const script of [[refuse], [close, close], [reset, reset]]) {
      const error = await open(...script);
      assert.equal(Reflect.get(Object(error), "failure"), "certificate", String(error));
      assert.match(String(error), /refused the client's certificate/u);
    }
  });
  test("a daemon that dies is not one that refuses", async () => {
    for (const how of [close, reset]) {
      const error = await open(die(how));
      assert.equal(Reflect.get(Object(error), "failure"), "unreachable", String(error));
      assert.match(String(error), /connection refused/u);
    }
  });
  test("a daemon that is restarted meanwhile is connected", async () =>
    assert.equal(await open(close, accept), "accepted"));
});
