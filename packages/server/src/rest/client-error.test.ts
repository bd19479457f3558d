/** Connections that send no whole request in time, over HTTP and HTTPS: which are answered, and stand in the audit trail. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { describe, test } from "node:test";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import type { Unread } from "./audit.ts";
import { answerClientError } from "./client-error.ts";

const limits = { headersTimeout: 20, requestTimeout: 20, connectionsCheckingInterval: 10 };

/** What a client is told that sends these bytes and no more, and what is recorded of it. */
async function outcome(server: Server, dial: (port: number) => Socket, bytes: string) {
  const recorded: (Unread | undefined)[] = [];
  server.on("clientError", (error, socket) => recorded.push(answerClientError(error, socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = dial((server.address() as AddressInfo).port);
  try {
    if (bytes !== "") socket.write(bytes);
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    return { status: text.split(" ")[1], recorded: recorded.flatMap((each) => each?.httpStatus ?? []) };
  } finally {
    socket.destroy();
    await server[Symbol.asyncDispose]();
  }
}

const plain = (bytes: string) => outcome(createServer(limits), (port) => connect(port, "127.0.0.1"), bytes);

describe("a connection on which no request comes in time", { timeout: 60_000 }, () => {
  const certificate = CertificateAuthority.ephemeral().issue({
    commonName: "inn",
    addresses: ["127.0.0.1"],
    purposes: ["server"],
  });
  const secure = (bytes: string) =>
    outcome(
      createSecureServer({ ...limits, key: certificate.keyPem, cert: certificate.certificatePem }),
      (port) => connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }),
      bytes,
    );

  for (const [name, run] of Object.entries({ plain, secure })) {
    test(`${name}: nothing was sent: it is closed, and not recorded`, async () =>
      assert.deepEqual(await run(""), { status: undefined, recorded: [] }));
    test(`${name}: a request had begun: it is answered and recorded`, async () =>
      assert.deepEqual(await run("GET / HTTP/1.1\r\nHo"), { status: "408", recorded: [408] }));
  }
});
