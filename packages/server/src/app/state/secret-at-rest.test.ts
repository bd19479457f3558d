/**
 * No secret that Innkeeper is given or makes is on its disk, in its log, or in an answer, in the clear: the store with its
 * write-ahead log, the audit trail, backups with a password and without, events, tasks, the change log.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { Logger } from "#core/log.ts";
import { keyFileName, stateLayout } from "#core/state-layout.ts";
import { AutomaticBackup } from "#management/backup/automatic-backup.ts";
import { BackupService } from "#management/backup/backup-service.ts";
import { HostCredentials } from "#management/reconcile/host-credential.ts";
import { systemClock } from "#core/system-clock.ts";
import { startServer } from "../server.ts";
import { openState } from "./open.ts";

const given = {
  adminPassword: "admin-SECRET-1-correct-horse",
  userPassword: "user-SECRET-2-correct-horse",
  sshPassword: "ssh-SECRET-3-correct-horse",
  sshKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET4secret4SECRET4\n-----END OPENSSH PRIVATE KEY-----\n",
  tlsKey: "-----BEGIN PRIVATE KEY-----\nSECRET5secret5SECRET5\n-----END PRIVATE KEY-----\n",
  saslPassword: "sasl-SECRET-6-correct-horse",
  consolePassword: "vncSEC7x",
  backupPassword: "backup-SECRET-8-correct-horse",
};

const json = (bytes: Buffer) => JSON.parse(bytes.toString()) as Record<string, unknown>;

/** Everything that is logged, as JSON. */
function recordingLogger(lines: string[]): Logger {
  const note = (fields: object, message: string): void => {
    lines.push(
      JSON.stringify({ ...fields, message }, (_key, value: unknown) =>
        value instanceof Error ? String(value.stack) : value,
      ),
    );
  };
  return { debug: note, info: note, warn: note, error: note, child: () => recordingLogger(lines) };
}

test("no secret is at rest in the clear", async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-secret-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const seen: { where: string; bytes: Buffer }[] = [];
  const log: string[] = [];
  const server = await startServer(
    {
      stateFolder: folder,
      listenAddress: "127.0.0.1",
      listenPort: 0,
      tls: { kind: "off" },
      logLevel: "debug",
      local: false,
      allowPlainTcp: false,
      resetAdmin: false,
      adminPassword: given.adminPassword,
    },
    { log: recordingLogger(log) },
  );
  let token: string | undefined;
  const call = async (method: string, where: string, body?: object) => {
    const response = await fetch(`${server.url}/api/v1${where}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
  };
  const session = json((await call("POST", "/login", { name: "admin", password: given.adminPassword })).bytes);
  token = String(session["secret"]);
  const made = await call("POST", "/users", { name: "anna", password: given.userPassword, role: "operator" });
  assert.equal(made.status, 201);
  const api = json((await call("POST", "/tokens", { name: "script" })).bytes);
  const requests: [string, object][] = [
    [
      "/hosts",
      { uri: "qemu+ssh://root@127.0.0.1:1/system", ssh: { password: given.sshPassword, privateKey: given.sshKey } },
    ],
    ["/hosts", { uri: "qemu+tls://127.0.0.1:1/system", tls: { clientCertificate: "x", clientKey: given.tlsKey } }],
    ["/hosts", { uri: "qemu+tls://inn@127.0.0.1:2/system", sasl: { password: given.saslPassword } }],
    // Refused, too: what was sent is nowhere either.
    ["/vms", { name: "v", graphics: [{ type: "vnc", password: given.consolePassword }] }],
    ["/users", { name: "Bad Name", password: given.userPassword, role: "operator" }],
    ["/login", { name: "admin", password: `${given.userPassword}!` }],
  ];
  for (const [where, body] of requests) {
    const answer = await call("POST", `${where}${where === "/hosts" ? "?waitMs=60000" : ""}`, body);
    seen.push({ where: `the answer of POST ${where}`, bytes: answer.bytes });
  }
  const backup = await call("POST", "/system/backup", { password: given.backupPassword });
  assert.equal(backup.status, 200);
  seen.push({ where: "a backup", bytes: backup.bytes });
  for (const where of ["/hosts", "/tasks", "/events", "/users", "/tokens", "/system", "/audit"]) {
    seen.push({ where: `GET ${where}`, bytes: (await call("GET", where)).bytes });
  }
  seen.push(...(await filesOf(folder, "while it runs")));
  await server.close();
  await storeHost(folder);
  seen.push(...(await filesOf(folder, "closed")));
  seen.push({ where: "the log", bytes: Buffer.from(log.join("\n")) });
  assert.ok(log.length > 10 && seen.some(({ where }) => where.includes("store.sqlite-wal")));
  const secrets = { ...given, session: String(session["secret"]), token: String(api["secret"]) };
  for (const { where, bytes } of seen) {
    for (const [name, secret] of Object.entries(secrets)) {
      const core = secret.replaceAll(/-----[^-]*-----|\n/g, "");
      for (const form of [
        core,
        JSON.stringify(secret).slice(1, -1),
        base64(secret),
        Buffer.from(secret).toString("hex"),
      ]) {
        assert.ok(!bytes.includes(form), `${name} is in ${where}`);
      }
    }
  }
});

/** A host that was added, and a daily backup of it. */
async function storeHost(folder: string): Promise<void> {
  await using state = await openState(folder);
  const { sshPassword, sshKey, tlsKey, saslPassword } = given;
  await state.store.transaction((transaction) =>
    new HostCredentials(state.secretBox).put(transaction, "host-000000000000", {
      uri: "qemu+tls://inn@kvm1/system",
      ssh: { password: sshPassword, privateKey: sshKey },
      tls: { caCertificate: "x", clientCertificate: "x", clientKey: tlsKey },
      sasl: { password: saslPassword },
    }),
  );
  const backup = new BackupService({ ...state, stateFolder: folder, version: "1", clock: systemClock });
  const deps = { backup, store: state.store, clock: systemClock, log: recordingLogger([]) };
  await new AutomaticBackup(deps, { folder: stateLayout(folder).backup, keep: 1 }).runIfDue();
}

async function filesOf(folder: string, when: string): Promise<{ where: string; bytes: Buffer }[]> {
  const found: { where: string; bytes: Buffer }[] = [];
  const key = (await readFile(path.join(folder, keyFileName), "utf8")).trim();
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const bytes = await readFile(path.join(entry.parentPath, entry.name));
    found.push({ where: `${entry.name} (${when})`, bytes });
    assert.ok(entry.name === keyFileName || !bytes.includes(key), `the key is in ${entry.name}`);
  }
  return found;
}

/** Without the end, which depends on what comes after. */
function base64(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.subarray(0, bytes.length - (bytes.length % 3)).toString("base64");
}
