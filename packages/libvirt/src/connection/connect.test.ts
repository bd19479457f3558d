// A daemon that ends the connection at each message of the opening: it dies or restarts, and is to be tried again. What it
// refuses, it says.
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { connect as dialTcp } from "node:net";
import { describe, test } from "node:test";
import { fakeServer, procedureName } from "#testing/fake-server.ts";
import { ConnectError } from "#rpc/error.ts";
import { connect } from "./connect.ts";
import type { Peer } from "#testing/fake-server.ts";
import type { Socket } from "node:net";

type Ending = (peer: Peer) => void;

const endings: Readonly<Record<string, Ending>> = {
  "in good order": ({ socket }) => void socket.end(),
  "by a reset": ({ socket }) => void socket.resetAndDestroy(),
  "in the middle of an answer": ({ socket }) => void socket.end(Buffer.from([0, 0, 0, 64, 0, 1])),
};
const opening = ["authList", "connectSupportsFeature", "connectOpen", "connectSupportsFeature"];
const withLogin = ["authList", "authSaslInit", "authSaslStart"];

/** Answers the messages before the last of these, and does that to the last. */
async function failureAt(procedures: readonly string[], last: Ending | "refuse"): Promise<ConnectError> {
  const seen: string[] = [];
  await using server = await fakeServer(
    (message, peer) => peer.error(message, 1),
    (message, peer) => {
      const name = procedureName(message);
      seen.push(name);
      if (seen.length === procedures.length) {
        if (last === "refuse") peer.error(message, 45); // VIR_ERR_AUTH_FAILED
        else last(peer);
        return true;
      }
      if (name === "authList" && procedures[1] === "authSaslInit") peer.reply(message, "AuthListRet", { types: [1] });
      else if (name === "authSaslInit") peer.reply(message, "AuthSaslInitRet", { mechlist: "SCRAM-SHA-256" });
      else return false;
      return true;
    },
  );
  const port = Number(new URL(server.uri).port);
  // As over TLS, where a login is allowed.
  const dial = async (): Promise<Socket> => {
    const socket = dialTcp(port, "127.0.0.1");
    await once(socket, "connect");
    return socket;
  };
  const options = { dial, sasl: { userName: "inn", password: "secret" }, timeoutMs: 20_000 };
  const error: unknown = await connect("qemu+tls://host.example/system", options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.deepEqual(seen, procedures);
  assert.ok(error instanceof ConnectError, String(error));
  return error;
}

describe("the opening of a connection", { timeout: 60_000 }, () => {
  for (const [how, end] of Object.entries(endings)) {
    for (const all of [opening, withLogin]) {
      for (const count of all.keys()) {
        const procedures = all.slice(0, count + 1);
        test(`ended ${how} at ${procedures.join(", ")}: not reached`, async () => {
          const { failure, message } = await failureAt(procedures, end);
          assert.equal(failure, "unreachable", message);
          assert.match(message, /^host\.example: .*clos/u);
        });
      }
    }
  }

  test("a login that is refused is no loss of the connection", async () => {
    for (const procedures of [withLogin, withLogin.slice(0, 2), withLogin.slice(0, 1)]) {
      const { failure } = await failureAt(procedures, "refuse");
      assert.equal(failure, "authentication");
    }
  });
});
