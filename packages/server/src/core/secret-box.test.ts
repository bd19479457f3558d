/** Secrets open with the same key and context, and with nothing else. */
import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { openSecretBox, SecretBox } from "#core/secret-box.ts";

test("a sealed secret is opened with the same key file and context only", async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-secret-"));
  context.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "secret.key");
  const [one, same] = await Promise.all([openSecretBox(file), openSecretBox(file)]);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const sealed = one.seal("geheim 中文", "host:a");
  assert.ok(!sealed.includes("geheim"));
  assert.notEqual(sealed, one.seal("geheim 中文", "host:a"));
  assert.equal(same.open(sealed, "host:a"), "geheim 中文");
  assert.equal((await openSecretBox(file)).open(sealed, "host:a"), "geheim 中文");
  assert.throws(() => one.open(sealed, "host:b"), { code: "store_unavailable" });
  assert.throws(() => one.open(`${sealed.slice(0, -2)}AA`, "host:a"), { code: "store_unavailable" });
  assert.throws(() => one.open("v1.", "host:a"), { code: "store_unavailable" });
  const other = await openSecretBox(path.join(folder, "other.key"));
  assert.throws(() => other.open(sealed, "host:a"), /can't be decrypted/);
});

test("a damaged key file is named, not replaced", async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-secret-"));
  context.after(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "secret.key");
  await writeFile(file, "short\n");
  await assert.rejects(openSecretBox(file), { code: "store_unavailable" });
});

test("a fingerprint is the same for the same text, context and key only", () => {
  const [one, same, other] = [1, 1, 2].map((byte) => new SecretBox(Buffer.alloc(32, byte)));
  const print = one?.fingerprint("geheim 中文", "request");
  assert.match(print ?? "", /^[0-9a-f]{64}$/);
  assert.equal(same?.fingerprint("geheim 中文", "request"), print);
  assert.notEqual(one?.fingerprint("geheim 中文", "other"), print);
  assert.notEqual(one?.fingerprint("geheim", "request"), print);
  assert.notEqual(other?.fingerprint("geheim 中文", "request"), print);
});
