/** `inn sim` as one uses it: a fleet in the foreground, looked at and broken from another terminal, gone with Ctrl-C. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { connect } from "@innkeeper/libvirt";

const inn = path.resolve(import.meta.dirname, "../main.ts");
const readyMs = 30_000;

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

async function run(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [inn, "sim", ...args], { signal: AbortSignal.timeout(readyMs) });
  const closed = once(child, "close") as Promise<[number | null]>;
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  return { code, output, errors };
}

suite("inn sim", { timeout: 120_000 }, () => {
  let folder: AsyncDisposable & { readonly path: string };
  let fleet: ChildProcess;
  const told = (...words: readonly string[]): Promise<Ended> => run(...words, "--folder", folder.path);
  // Addresses of this test's own, so that it does not meet a fleet that someone runs here.
  const address = `127.${80 + (process.pid % 100)}.${(process.pid >> 8) % 200}.1`;

  before(async () => {
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-sim-"));
    const declaration = { clusters: [{ name: "lab", hosts: 2, vmsPerHost: 3 }], runningPart: 1 };
    await writeFile(path.join(folder.path, "fleet.json"), JSON.stringify(declaration));
    const args = [
      "up",
      "--file",
      path.join(folder.path, "fleet.json"),
      "--folder",
      folder.path,
      "--address",
      address,
      "--speed",
      "100",
    ];
    fleet = spawn(process.execPath, [inn, "sim", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    assert.ok(fleet.stdout);
    const [first] = (await once(fleet.stdout, "data", { signal: AbortSignal.timeout(readyMs) })) as [Buffer];
    assert.match(first.toString(), /2 hosts with 6 VMs, ready in \d+ ms/);
    assert.match(first.toString(), /for cluster in lab; do inn cluster create \$cluster; done/);
  });
  after(async () => {
    if (fleet.exitCode === null) fleet.kill("SIGINT");
    await folder[Symbol.asyncDispose]();
  });

  test("lists hosts, and each answers at its address", async () => {
    const { output, code } = await told("list");
    assert.equal(code, 0);
    assert.match(output, /labh1 +lab +on +3\/3 VMs run/);
    const uris = (await told("uris")).output.trim().split("\n");
    assert.equal(uris.length, 2);
    for (const line of uris) {
      const [name = "", uri = "", cluster] = line.split(" ");
      assert.equal(cluster, "lab");
      await using connection = await connect(uri);
      assert.equal((await connection.remote.connectGetHostname()).hostname, name);
    }
  });

  test("time goes as fast as it is told to", async () => {
    await using connection = await connect(`qemu+unix:///system?socket=${path.join(folder.path, "labh2.sock")}`);
    const { remote } = connection;
    const [dom] = (await remote.connectListAllDomains({ needResults: 1, flags: 1 })).domains;
    assert.ok(dom);
    const guestMs = async (): Promise<number> => {
      const { seconds, nseconds } = await remote.domainGetTime({ dom });
      return Number(seconds) * 1_000 + nseconds / 1_000_000;
    };
    const fromGuestMs = await guestMs();
    const fromMs = performance.now();
    let realMs = 0;
    while (realMs < 100) {
      await remote.connectGetType();
      realMs = performance.now() - fromMs;
    }
    assert.ok((await guestMs()) - fromGuestMs >= 99 * realMs);
    assert.match((await run("up", "--speed", "0")).errors, /--speed must be a number above 0, not 0/);
  });

  test("breaks and mends, and says what is wrong with what it is told", async () => {
    const uri = `qemu+unix:///system?socket=${path.join(folder.path, "labh1.sock")}`;
    assert.equal((await told("power-off", "labh1")).code, 0);
    assert.match((await told("list")).output, /labh1 +lab +off +0\/3/);
    await assert.rejects(connect(uri));
    assert.equal((await told("power-on", "labh1")).code, 0);
    assert.equal((await told("fault", '{"kind":"fail","procedure":"connectGetType","code":"VIR_ERR_RPC"}')).code, 0);
    await using connection = await connect(uri);
    await assert.rejects(connection.remote.connectGetType(), { codeName: "VIR_ERR_RPC" });
    await told("fault-clear");
    assert.deepEqual(await connection.remote.connectGetType(), { type: "QEMU" });
    assert.match((await told("power-off", "nobody")).errors, /no host is named nobody/);
    assert.match((await told("fault", '{"kind":"explode"}')).errors, /kind must be one of/);
    assert.match((await run("list", "--folder", "/nowhere")).errors, /no fleet runs .* inn sim up/);
  });

  test("ends with Ctrl-C and leaves no socket", async () => {
    const closed = once(fleet, "close") as Promise<[number | null]>;
    fleet.kill("SIGINT");
    const [code] = await closed;
    assert.ok(code === 0 || code === 130, `${code}`);
    assert.deepEqual(await readdir(folder.path), ["fleet.json"]);
  });
});
