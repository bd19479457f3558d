/** What is written into a backup comes out of it; whatever else comes is refused with the reason. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { SecretBox } from "#core/secret-box.ts";
import type { ArchiveEntry } from "./archive.ts";
import type { KeyMaterial } from "./backup-key.ts";
import { openBackup, writeBackup } from "./backup-file.ts";

const about = { version: "1", createdAt: "2026-01-01T00:00:00.000Z" };
const password: KeyMaterial = { kind: "password", password: "correct horse" };
const box = new SecretBox(randomBytes(32));

interface File {
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
}

const files: readonly File[] = [
  { path: "store.sqlite", mode: 0o600, content: randomBytes(700_000) },
  { path: "empty", mode: 0o644, content: Buffer.alloc(0) },
  { path: "ca/authority.pem", mode: 0o600, content: Buffer.from("-----BEGIN") },
];

async function* asEntries(of: readonly File[]): AsyncGenerator<ArchiveEntry> {
  for (const { path, mode, content } of of) {
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      yield content;
    };
    yield { path, mode, sizeBytes: content.length, content: pieces() };
  }
}

async function* broken(): AsyncGenerator<ArchiveEntry> {
  yield* asEntries(files);
  throw new Error("planned");
}

async function* pieces(bytes: Buffer, size = 5000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function make(material: KeyMaterial, of: readonly File[] = files): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(writeBackup(about, material, asEntries(of))));
}

async function read(bytes: Buffer, material: KeyMaterial): Promise<File[]> {
  const found: File[] = [];
  const backup = await openBackup(pieces(bytes), () => Promise.resolve(material));
  assert.equal(backup.head.version, about.version);
  for await (const { path, mode, content } of backup.entries) {
    found.push({ path, mode, content: Buffer.concat(await Array.fromAsync(content)) });
  }
  return found;
}

test("by password, and by the state's key", async () => {
  for (const material of [password, { kind: "state", box }] as const) {
    const bytes = await make(material);
    assert.deepEqual(await read(bytes, material), files);
    assert.ok(!bytes.includes("-----BEGIN"), "nothing in the clear");
  }
});

test("a wrong password, a wrong key and what is no backup say so", async () => {
  const bytes = await make(password);
  const wrong = { kind: "password", password: "wrong horse" } as const;
  await assert.rejects(read(bytes, wrong), { code: "invalid_field", message: /password is wrong/ });
  await assert.rejects(read(bytes, { kind: "state", box }), /encrypted with a password/);
  const own = await make({ kind: "state", box });
  await assert.rejects(read(own, { kind: "state", box: new SecretBox(randomBytes(32)) }), /not the one of this backup/);
  await assert.rejects(read(own, password), /key file of its state/);
  for (const [what, content, reason] of [
    ["empty", "", /it is empty/],
    ["text", "hello\nworld\n", /does not begin like one/],
    ["binary", "\u0000".repeat(9000), /does not begin like one/],
    ["newer", "INNKEEPER-BACKUP 2 {}\nx\n", /newer version/],
    ["no JSON", "INNKEEPER-BACKUP 1 {\nx\n", /first line is damaged/],
    [
      "greedy",
      `INNKEEPER-BACKUP 1 ${JSON.stringify({ ...about, key: { kind: "password", algorithm: "argon2id", memoryKiB: 1e9, passes: 1, parallelism: 1, salt: "a".repeat(22) } })}\nx\n`,
      /first line is damaged/,
    ],
  ] as const) {
    await assert.rejects(read(Buffer.from(content), password), { code: "invalid_field", message: reason }, what);
  }
});

test("a changed or cut backup is refused, wherever that is", async () => {
  const bytes = await make(password);
  const head = bytes.indexOf(0x0a);
  for (const at of [30, head + 3, head + 100, bytes.length >> 1, bytes.length - 1]) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 4;
    await assert.rejects(read(changed, password), { code: "invalid_field" }, `byte ${at}`);
  }
  for (const length of [10, head + 1, head + 30, bytes.length >> 1, bytes.length - 16, bytes.length - 1]) {
    await assert.rejects(read(bytes.subarray(0, length), password), { code: "invalid_field" }, `cut at ${length}`);
  }
});

test("no path leads out of the folder", async () => {
  for (const path of ["../x", "/etc/passwd", "a/../../x", ".", "", "a//b", "a/b/c/d/e/f", "x\u0000y", ".hidden"]) {
    const bytes = await make({ kind: "state", box }, [{ path, mode: 0o600, content: Buffer.from("x") }]);
    await assert.rejects(read(bytes, { kind: "state", box }), /leads elsewhere/, JSON.stringify(path));
  }
});

test("a fault while it is made is the maker's, not a short backup", async () => {
  await assert.rejects(Array.fromAsync(writeBackup(about, { kind: "state", box }, broken())), /planned/);
});
