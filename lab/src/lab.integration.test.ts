/** The lab's promises, on real hosts: they come up, break in the ways we ask for, and leave nothing. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtempDisposable, readdir, stat, writeFile } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { suite, test } from "node:test";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { CertificateAuthority } from "@innkeeper/server/core/certificate-authority.ts";
import { CommandError, run } from "#command.ts";
import { Lab, LabError } from "#lab.ts";
import { interfaceNameOf } from "#layout.ts";
import { findNodeProcesses, listProcesses } from "#namespace.ts";
import { waitFor } from "#wait.ts";

const signal = AbortSignal.timeout(300_000);
const tlsPort = 16514; // libvirt 9.0 LIBVIRTD_TLS_PORT
let counter = 0;

function freshName(): string {
  counter += 1;
  return `t${process.pid}-${counter}`;
}

/** What virsh of this machine says about the host, over TLS. */
async function virsh(lab: Lab, hostName: string, args: readonly string[], timeoutMs = 30_000): Promise<string> {
  const uri = `${lab.host(hostName).uri}?pkipath=${lab.clientTls.folder}`;
  const { stdout } = await run(["virsh", "--connect", uri, ...args], { signal, timeoutMs });
  return stdout.replaceAll(/ +$/gmu, "").trim();
}

async function assertGone(lab: Lab): Promise<void> {
  const mine = [...(await listProcesses()).values()].filter((argv) => argv.some((text) => text.includes(lab.folder)));
  assert.deepEqual(mine, []);
  assert(!(await readdir("/sys/class/net")).includes(interfaceNameOf(lab.folder)), "its interface is gone");
  assert(!(await Lab.list()).includes(lab.name), "its folder is gone");
  const { stdout: routes } = await run(["ip", "route"], { signal });
  assert(!routes.includes(subnetOf(lab)), "its route is gone");
}

function subnetOf(lab: Lab): string {
  return (lab.hosts[0]?.address ?? "").split(".").slice(0, 3).join(".");
}

/** Resolves if a TLS session with the host is agreed on and libvirt keeps it open; rejects as soon as it is refused. */
async function tlsSession(options: ConnectionOptions): Promise<void> {
  const socket = connectTls({ port: tlsPort, ...options });
  socket.setTimeout(20_000, () => assert.fail("libvirtd neither took nor refused the certificate"));
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      // One byte, 1, once the client's certificate is accepted (libvirt 9.0 src/rpc/virnetserverclient.c).
      assert.deepEqual([...chunk], [1]);
      return;
    }
    throw new Error("libvirtd closed the connection");
  } finally {
    socket.destroy();
  }
}

suite("lab", { timeout: 300_000 }, () => {
  test("comes up, tells hosts apart, has pools and networks; down leaves nothing, twice", async () => {
    const name = freshName();
    for (const _round of [1, 2]) {
      const lab = await Lab.up({ name, hostCount: 2, signal });
      await using _cleanup = lab;
      const uuids = await Promise.all(
        lab.hosts.map(async (host) => {
          assert.equal(await virsh(lab, host.name, ["hostname"]), host.name);
          const capabilities = await virsh(lab, host.name, ["capabilities"]);
          assert(capabilities.includes(`<uuid>${host.uuid}</uuid>`));
          assert(!capabilities.includes("<domain type='kvm'"), "/dev/kvm is hidden");
          assert.equal(await virsh(lab, host.name, ["pool-list", "--name"]), "local\nshared");
          assert.equal(await virsh(lab, host.name, ["net-list", "--name"]), "default\nlab");
          return host.uuid;
        }),
      );
      assert.equal(new Set(uuids).size, 2);
      await writeFile(path.join(lab.sharedFolder, "seen-by-all"), "x");
      for (const host of lab.hosts) {
        await virsh(lab, host.name, ["pool-refresh", "shared"]);
        assert.match(await virsh(lab, host.name, ["vol-list", "shared"]), /seen-by-all/u);
      }
      await lab.host("h1").exec(["virsh", "vol-create-as", "local", "mine", "1M"], { signal });
      assert.doesNotMatch(await virsh(lab, "h2", ["vol-list", "local"]), /mine/u);
      assert.equal(
        (await lab.host("h1").exec(["virsh", "-c", "qemu+tls://h2/system", "hostname"])).stdout.trim(),
        "h2",
      );
      await assert.rejects(Lab.up({ name, hostCount: 1, signal }), LabError);
      await lab.down();
      await lab.down();
      await assertGone(lab);
    }
    assert.equal(await Lab.down(name), false);
  });

  test("a crashed host is off until it is started, and has kept its disks and its identity", async () => {
    await using lab = await Lab.up({ name: freshName(), hostCount: 2, signal });
    const host = lab.host("h1");
    await host.exec(["virsh", "vol-create-as", "local", "kept", "1M"], { signal });
    const witness = connectTcp({ host: host.address, port: tlsPort });
    await once(witness, "connect", { signal });
    let heardOfIt = false;
    witness.on("close", () => (heardOfIt = true)).on("error", () => (heardOfIt = true));
    await host.crash(signal);
    assert.equal(await host.isRunning(), false);
    assert.equal(heardOfIt, false, "a power cut sends no farewell");
    witness.destroy();
    await assert.rejects(host.exec(["true"]), /h1 is not running/u);
    await host.crash(signal);
    await host.start(signal);
    await host.start(signal);
    assert.match(await virsh(lab, "h1", ["vol-list", "local"]), /kept/u);
    assert((await virsh(lab, "h1", ["capabilities"])).includes(host.uuid));
    assert.equal(await virsh(lab, "h1", ["net-list", "--name"]), "default\nlab");
  });

  test("a partitioned host is out of reach of everyone, and back when healed", async () => {
    await using lab = await Lab.up({ name: freshName(), hostCount: 2, signal });
    const ping = (from: string, to: string) =>
      lab.host(from).exec(["bash", "-c", `exec 3<>/dev/tcp/${to}/${tlsPort}`], { signal, timeoutMs: 2000 });
    await ping("h1", "h2");
    await lab.host("h2").partition(signal);
    await assert.rejects(ping("h1", "h2"), CommandError);
    await assert.rejects(virsh(lab, "h2", ["hostname"], 2000), CommandError);
    assert.equal(await virsh(lab, "h1", ["hostname"]), "h1");
    assert.equal((await lab.host("h2").exec(["virsh", "hostname"])).stdout.trim(), "h2", "it lives on by itself");
    await lab.host("h2").heal(signal);
    const answer = await waitFor("the healed host", () => virsh(lab, "h2", ["hostname"], 5000).catch(() => undefined), {
      signal,
      timeoutMs: 20_000,
    });
    assert.equal(answer, "h2");
  });

  test("libvirtd can be killed and started again while the host runs on", async () => {
    await using lab = await Lab.up({ name: freshName(), hostCount: 1, signal });
    const host = lab.host("h1");
    await host.killLibvirtd(signal);
    assert.equal(await host.isRunning(), true);
    await assert.rejects(virsh(lab, "h1", ["hostname"]), CommandError);
    await host.startLibvirtd(signal);
    assert.equal(await virsh(lab, "h1", ["hostname"]), "h1");
  });

  test("several labs run side by side, each in a subnet of its own", async () => {
    const names = [freshName(), freshName(), freshName()];
    const labs = await Promise.all(names.map((name) => Lab.up({ name, hostCount: 1, signal })));
    try {
      assert.equal(new Set(labs.map(subnetOf)).size, 3);
      for (const lab of labs) assert.equal(await virsh(lab, "h1", ["hostname"]), "h1");
      await labs[0]?.down();
      assert.equal(await virsh(labs[1] ?? assert.fail(), "h1", ["hostname"]), "h1");
    } finally {
      await Promise.all(labs.map((lab) => lab.down()));
    }
    for (const lab of labs) await assertGone(lab);
  });

  test("only the lab's certificates are let in, and only its hosts are believed", async () => {
    await using lab = await Lab.up({ name: freshName(), hostCount: 1, signal });
    const authority = await CertificateAuthority.open(path.join(lab.folder, "authority"));
    const admin = authority.issue({ commonName: "admin", purposes: ["client"] });
    const host = lab.host("h1").address;
    const ca = authority.certificatePem;
    await tlsSession({ host, ca, cert: admin.certificatePem, key: admin.keyPem });
    const stranger = CertificateAuthority.ephemeral().issue({ commonName: "admin", purposes: ["client"] });
    await assert.rejects(tlsSession({ host, ca, cert: stranger.certificatePem, key: stranger.keyPem }));
    await assert.rejects(tlsSession({ host, ca }), "a client without a certificate");
    const lastWeek = new Date(Date.now() - 7 * 86_400_000);
    const slowClock = await CertificateAuthority.open(path.join(lab.folder, "authority"), { now: () => lastWeek });
    const expired = slowClock.issue({ commonName: "admin", purposes: ["client"], validDays: 1 });
    await assert.rejects(tlsSession({ host, ca, cert: expired.certificatePem, key: expired.keyPem }));
    const foreign = CertificateAuthority.ephemeral().certificatePem;
    await assert.rejects(tlsSession({ host, ca: foreign, cert: admin.certificatePem, key: admin.keyPem }));
  });

  test("a lab outlives the process that made it; kill -9 at any instant leaves what down removes", async () => {
    for (const killAfterMs of [0, 60, 120, 250, 400, 3000]) {
      const name = freshName();
      const script = `import { Lab } from "@innkeeper/lab/lab.ts"; await Lab.up({ name: "${name}", hostCount: 2 }); console.log("up"); setInterval(() => {}, 1000);`;
      const argv = ["--input-type=module-typescript", "--eval", script];
      const owner = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"], cwd: import.meta.dirname });
      let up = false;
      owner.stdout.on("data", () => (up = true));
      const folder = (await openFolder(name)) ?? "";
      await waitFor(`${name} to begin`, async () => (await isThere(folder)) || undefined, {
        signal,
        timeoutMs: 20_000,
      });
      const begunMs = performance.now();
      const due = () => up || performance.now() - begunMs >= killAfterMs || undefined;
      await waitFor("the moment of the kill", due, { signal, timeoutMs: 10_000, intervalMs: 5 });
      owner.kill("SIGKILL");
      await once(owner, "exit");
      if (up) assert.equal(await virsh(await Lab.open(name), "h2", ["hostname"]), "h2", "detached hosts live on");
      assert.equal(await Lab.down(name), true);
      for (const node of ["switch", "h1", "h2"]) {
        assert.equal((await findNodeProcesses(`innkeeper-lab:${folder}:${node}`)).init, undefined);
      }
      assert(!(await readdir("/sys/class/net")).includes(interfaceNameOf(folder)));
      assert(!(await isThere(folder)));
    }
  });

  test("a lab that fails or is aborted half-way takes itself down", async () => {
    const name = freshName();
    const abort = new AbortController();
    const rising = Lab.up({ name, hostCount: 2, signal: abort.signal });
    const folder = (await openFolder(name)) ?? "";
    await waitFor("its first host", async () => (await isThere(path.join(folder, "lab.json"))) || undefined, {
      signal,
      timeoutMs: 20_000,
      intervalMs: 2,
    });
    abort.abort(new Error("changed my mind"));
    await assert.rejects(rising, /changed my mind/u);
    assert(!(await isThere(folder)));
    assert(!(await readdir("/sys/class/net")).includes(interfaceNameOf(folder)));
  });

  test("a lab in a folder on an overlay file system works too, and keeps its hosts' /etc", async () => {
    await using scratch = await mkdtempDisposable(path.join(tmpdir(), "lab-overlay-"));
    const part = (name: string): string => path.join(scratch.path, name);
    for (const name of ["lower", "upper", "work", "merged"]) await mkdir(part(name));
    const layers = `lowerdir=${part("lower")},upperdir=${part("upper")},workdir=${part("work")}`;
    await run(["mount", "-t", "overlay", "-o", layers, "overlay", part("merged")], { signal });
    try {
      const lab = await Lab.up({ name: freshName(), hostCount: 1, folder: part("merged/lab"), signal });
      await using _cleanup = lab;
      const host = lab.host("h1");
      await host.exec(["sh", "-c", "echo kept >/etc/kept"], { signal });
      await host.crash(signal);
      await host.start(signal);
      assert.equal((await host.exec(["cat", "/etc/kept", "/etc/hostname"], { signal })).stdout, "kept\nh1\n");
      assert.equal(await virsh(lab, "h1", ["hostname"]), "h1");
    } finally {
      await run(["umount", part("merged")], { signal });
    }
  });

  test("what can't be a lab is refused, and nothing is touched", async () => {
    for (const name of ["", "A", "a b", "../x", "-a", "x".repeat(41), "实验"]) {
      await assert.rejects(Lab.up({ name, hostCount: 1 }), LabError);
    }
    for (const hostCount of [0, -1, 1.5, 61, Number.NaN]) {
      await assert.rejects(Lab.up({ name: freshName(), hostCount }), LabError);
    }
    await assert.rejects(Lab.open(freshName()), LabError);
    await using lab = await Lab.up({ name: freshName(), hostCount: 1, signal });
    assert.throws(() => lab.host("h9"), /no host h9; it has h1/u);
    await assert.rejects(lab.host("h1").exec(["false"]), CommandError);
  });
});

async function openFolder(name: string): Promise<string | undefined> {
  const root = process.env["INNKEEPER_LAB_ROOT"] ?? "/var/lib/innkeeper-lab";
  await mkdir(root, { recursive: true });
  return path.join(root, name);
}

async function isThere(file: string): Promise<boolean> {
  return await stat(file).then(
    () => true,
    () => false,
  );
}
