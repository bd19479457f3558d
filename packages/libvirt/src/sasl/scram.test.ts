// The examples of RFC 5802 §5 and RFC 7677 §3, and what a server may not do.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { chooseMechanism, saslMechanism, saslMechanismNames } from "./choice.ts";
import { SaslError } from "./mechanism.ts";
import { ScramLogin } from "./scram.ts";

interface Example {
  readonly mechanism: string;
  readonly nonce: string;
  readonly clientFirst: string;
  readonly serverFirst: string;
  readonly clientFinal: string;
  readonly serverFinal: string;
}

const sha1: Example = {
  mechanism: "SCRAM-SHA-1",
  nonce: "fyko+d2lbbFgONRv9qkxdawL",
  clientFirst: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
  serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
  clientFinal: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
  serverFinal: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
};
const sha256: Example = {
  mechanism: "SCRAM-SHA-256",
  nonce: "rOprNGfwEbeRWgbNEkqO",
  clientFirst: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
  serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  clientFinal:
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

const begun = ({ mechanism, nonce }: Example): ScramLogin => new ScramLogin(mechanism, "user", "pencil", nonce);
const text = async (answer: Promise<Buffer>): Promise<string> => (await answer).toString();

describe("SCRAM", () => {
  for (const example of [sha1, sha256]) {
    test(`${example.mechanism} as in its RFC`, async () => {
      const login = begun(example);
      assert.equal(login.start().toString(), example.clientFirst);
      assert.equal(await text(login.step(Buffer.from(example.serverFirst))), example.clientFinal);
      assert.equal(login.isComplete, false);
      assert.equal(await text(login.step(Buffer.from(example.serverFinal))), "");
      assert.equal(login.isComplete, true);
      await assert.rejects(login.step(Buffer.alloc(0)), SaslError);
    });
  }

  test("a server that does not know the password is found out", async () => {
    const wrong = ["v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "v=", "", "e=invalid-proof", "x=1"];
    for (const serverFinal of wrong) {
      const login = begun(sha256);
      await login.step(Buffer.from(sha256.serverFirst));
      await assert.rejects(login.step(Buffer.from(serverFinal)), SaslError, serverFinal);
      assert.equal(login.isComplete, false);
    }
  });

  test("a first message that weakens the login, or asks for endless work, is refused", async () => {
    const nonce = `${sha256.nonce}more`;
    const rows: [string, RegExp][] = [
      [`r=${nonce},s=QSXCR+Q6sek8bf92,i=4095`, /4095 iterations/u],
      [`r=${nonce},s=QSXCR+Q6sek8bf92,i=4294967295`, /4294967295 iterations/u],
      [`r=${nonce},s=QSXCR+Q6sek8bf92,i=99999999999`, /not SCRAM/u],
      [`r=${nonce},s=,i=4096`, /not SCRAM/u],
      [`m=ext,r=${nonce},s=QSXCR+Q6sek8bf92,i=4096`, /not SCRAM/u],
      [`r=${sha256.nonce},s=QSXCR+Q6sek8bf92,i=4096`, /nonce/u],
      ["r=another,s=QSXCR+Q6sek8bf92,i=4096", /nonce/u],
      ["", /not SCRAM/u],
    ];
    for (const [serverFirst, words] of rows) {
      await assert.rejects(begun(sha256).step(Buffer.from(serverFirst)), words, serverFirst);
    }
    assert.match(await text(begun(sha256).step(Buffer.from(`r=${nonce},s=QSXCR+Q6sek8bf92,i=4096,x=later`))), /^c=/u);
  });

  test("names are escaped; nonces differ", () => {
    const [first = "", second] = [1, 2].map(() => saslMechanism("SCRAM-SHA-256", "a=b,c", "secret").start().toString());
    assert.match(first, /^n,,n=a=3Db=2Cc,r=[A-Za-z0-9+/]{32}$/u);
    assert.notEqual(first, second);
  });
});

describe("mechanisms", () => {
  test("the strongest that both have; PLAIN last, and only where it is allowed", () => {
    const every = saslMechanismNames;
    assert.equal(chooseMechanism(["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "GSSAPI"], every), "SCRAM-SHA-256");
    assert.equal(chooseMechanism(["PLAIN", "SCRAM-SHA-1"], every), "SCRAM-SHA-1");
    assert.equal(chooseMechanism(["PLAIN", "GSSAPI"], every), "PLAIN");
    assert.equal(chooseMechanism(["PLAIN"], ["SCRAM-SHA-256"]), null);
    assert.equal(chooseMechanism(["GSSAPI", "DIGEST-MD5"], every), null);
    assert.equal(chooseMechanism([], every), null);
  });

  test("PLAIN", async () => {
    const login = saslMechanism("PLAIN", "user", "pencil");
    assert.equal(login.start().toString(), "\0user\0pencil");
    await assert.rejects(login.step(Buffer.alloc(0)), SaslError);
  });
});
