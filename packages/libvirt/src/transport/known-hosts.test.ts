import { strict as assert } from "node:assert";
import { createHmac } from "node:crypto";
import { describe, test } from "node:test";
import { fingerprint, judgeHostKey, keyType, knownKeys } from "./known-hosts.ts";

const blob = (text: string): Buffer =>
  Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from("ssh-ed25519"), Buffer.from(text)]);
const line = (names: string, key: Buffer): string => `${names} ssh-ed25519 ${key.toString("base64")} a comment`;

describe("known_hosts", () => {
  const key = blob("one");
  const finds = (text: string, host: string, port = 22): boolean =>
    knownKeys(text, host, port).some((each) => each.blob.equals(key));

  test("plain names, lists, ports, wildcards and negations", () => {
    assert.equal(finds(line("a.example,10.0.0.1", key), "10.0.0.1"), true);
    assert.equal(finds(line("A.example", key), "a.EXAMPLE"), true);
    assert.equal(finds(line("a.example", key), "a.example", 2222), false);
    assert.equal(finds(line("[a.example]:2222", key), "a.example", 2222), true);
    assert.equal(finds(line("*.example,!b.example", key), "a.example"), true);
    assert.equal(finds(line("*.example,!b.example", key), "b.example"), false);
    assert.equal(finds(line("10.0.0.?", key), "10.0.0.12"), false);
    assert.equal(finds(`# ${line("a", key)}\n\nrubbish\n`, "a"), false);
    assert.equal(finds(`@cert-authority ${line("a", key)}`, "a"), false);
  });

  test("hashed names", () => {
    const salt = Buffer.from("0123456789abcdefghij");
    const digest = createHmac("sha1", salt).update("[a.example]:2222").digest("base64");
    const hashed = line(`|1|${salt.toString("base64")}|${digest}`, key);
    assert.equal(finds(hashed, "a.example", 2222), true);
    assert.equal(finds(hashed, "b.example", 2222), false);
    assert.equal(finds(line("|1|rubbish", key), "a"), false);
  });

  test("verdicts", () => {
    const keys = knownKeys(`${line("a", key)}\n@revoked ${line("a", blob("bad"))}`, "a", 22);
    assert.equal(judgeHostKey(keys, key), "known");
    assert.equal(judgeHostKey(keys, blob("other")), "changed");
    assert.equal(judgeHostKey(keys, blob("bad")), "revoked");
    assert.equal(judgeHostKey([], key), "unknown");
    assert.equal(keyType(key), "ssh-ed25519");
    assert.match(fingerprint(key), /^SHA256:[\w+/]{43}$/u);
  });
});
