/** backup-config, restore and recover as they are typed: what they print, and with which code they end. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { silentLogger } from "@innkeeper/server/core/log.ts";
import { type RunningServer, startServer } from "@innkeeper/server/app/server.ts";
import { testConfig } from "@innkeeper/server/app/test-support/test-config.ts";

const main = path.resolve(import.meta.dirname, "../main.ts");
const adminPassword = "correct horse battery";

test("a backup is made of the running server, checked, refused, restored; a lost store is recovered", async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-cli-state-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const state = path.join(folder, "state");
  const at = (name: string): string => path.join(folder, name);
  await writeFile(at("password"), `${adminPassword}\n`);
  await writeFile(at("wrong"), "wrong horse battery\n");
  const environment = { ...process.env, XDG_CONFIG_HOME: folder, HOME: folder, INN_STATE: state, INN_PASSWORD: "" };
  const inn = async (...argv: string[]): Promise<{ code: number; said: string; out: Buffer }> => {
    const child = spawn(process.execPath, [main, ...argv], { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    const [out, errors] = [[], []] as [Buffer[], Buffer[]];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
    const [code] = (await once(child, "close")) as [number];
    const bytes = Buffer.concat(out);
    return { code, said: bytes.toString() + Buffer.concat(errors).toString(), out: bytes };
  };
  let server: RunningServer = await serve(state);
  context.after(() => server.close());
  const login = async (): Promise<void> => {
    const { code, said } = await inn("login", server.url, "--user", "admin", "--password-file", at("password"));
    assert.equal(code, 0, said);
  };
  await login();
  const saved = await inn("backup-config", at("backup"), "--password-file", at("password"));
  assert.deepEqual([saved.code, /^saved .*backup, /.test(saved.said)], [0, true], saved.said);
  assert.equal((await stat(at("backup"))).mode & 0o777, 0o600);
  const again = await inn("backup-config", at("backup"), "--password-file", at("password"));
  assert.match(again.said, /exists[\s\S]*--force/);
  const piped = await inn("backup-config", "-", "--password-file", at("password"));
  assert.match(piped.out.toString("latin1"), /^INNKEEPER-BACKUP 1 /);
  const checked = await inn("restore", at("backup"), "--check", "--password-file", at("password"));
  assert.match(checked.said, /^whole and sound: the backup of .*1 user$/m);
  const wrong = await inn("restore", at("backup"), "--check", "--password-file", at("wrong"));
  assert.deepEqual([wrong.code, /password is wrong/.test(wrong.said)], [65, true], wrong.said);
  for (const argv of [["restore", at("backup"), "--password-file", at("password")], ["recover"]]) {
    const { code, said } = await inn(...argv);
    assert.equal(code, 75, said);
    assert.match(said, new RegExp(`process ${process.pid}\\) uses the state folder[\\s\\S]*what to do: Stop it`));
  }
  await server.close();
  assert.match((await inn("recover")).said, /Nothing is wrong with the state/);
  await rm(path.join(state, "store.sqlite"));
  const start = await inn("up", "--no-local", "--no-tls", "--listen", "127.0.0.1:0");
  assert.equal(start.code, 75);
  assert.match(start.said, /store\.sqlite is gone[\s\S]*inn restore FILE[\s\S]*inn recover/);
  const recovered = await inn("recover");
  assert.equal(recovered.code, 0, recovered.said);
  assert.match(recovered.said, /No users are left[\s\S]*The old state is in .*old-/);
  const restored = await inn("restore", at("backup"), "--password-file", at("password"));
  assert.equal(restored.code, 0, restored.said);
  assert.equal((await readdir(state)).filter((name) => name.startsWith("old-")).length, 2);
  assert.match(await readFile(path.join(state, "secret.key"), "utf8"), /^\S{43}\n$/);
  server = await serve(state);
  await login();
  assert.match((await inn("event", "list")).said, /system\.restored/);
});

function serve(stateFolder: string): Promise<RunningServer> {
  return startServer(testConfig(stateFolder, { adminPassword }), { log: silentLogger });
}
