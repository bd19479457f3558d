/**
 * The control plane's main flow with daemons that are older and newer than the one it was written with, and with one that
 * asks for a name and a password. All are the same real libvirtd: behind a proxy, or with another configuration.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { after, before, describe, test } from "node:test";
import { messageTap, type MessageTap, type Proxy, startProxy } from "@innkeeper/libvirt/testing/proxy.ts";
import type { LabHost } from "@innkeeper/lab/host.ts";
import { Lab } from "@innkeeper/lab/lab.ts";
import { waitFor } from "@innkeeper/lab/wait.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { labAccess } from "#app/test-support/control-plane.ts";
import { ServerProcess } from "#app/test-support/server-process.ts";
import { type AgeLog, futureName, newDaemon, oldDaemon } from "./test-support/daemon-age.ts";
import { daemonSocket } from "./test-support/daemon-socket.ts";

const labName = "daemon-variant";
const cliMain = path.resolve(import.meta.dirname, "../../../cli/src/main.ts");
const futureXml = `<domain type='qemu'><name>${futureName}</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`;

describe("daemons that differ", { timeout: 300_000 }, () => {
  let lab: Lab;
  let host: LabHost;
  let folder: string;
  let server: ServerProcess;

  before(async () => {
    await Lab.down(labName);
    lab = await Lab.up({ name: labName, hostCount: 1 });
    host = lab.host("h1");
    folder = await mkdtemp(path.join(tmpdir(), "inn-daemon-variant-"));
    server = await ServerProcess.start(path.join(folder, "state"));
    await server.login(server.firstPassword ?? "");
  });
  after(async () => {
    await server?.end("SIGKILL");
    await lab?.down();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  async function proxied(tapOf: () => MessageTap): Promise<{ proxy: Proxy; uri: string }> {
    const proxy = await startProxy(await daemonSocket(lab.folder, host), (link) => messageTap(link, tapOf()));
    return { proxy, uri: `qemu+unix:///system?socket=${encodeURIComponent(proxy.socket)}` };
  }

  const addHost = (request: unknown): Promise<Task> => server.call<Task>("POST", "/hosts?waitMs=60000", request);
  /** The command line, as a process of its own. */
  async function inn(argv: readonly string[]): Promise<{ exitCode: unknown; errors: string }> {
    const env = { ...process.env, INN_SERVER: server.url, INN_TOKEN: server.token };
    try {
      const { stderr } = await promisify(execFile)(process.execPath, [cliMain, ...argv], { env, timeout: 120_000 });
      return { exitCode: 0, errors: stderr };
    } catch (error) {
      const { code, stderr } = error as { code?: unknown; stderr?: string };
      return { exitCode: code, errors: stderr ?? String(error) };
    }
  }

  const vmOf = (name: string): Promise<Vm> => server.call<Vm>("GET", `/vms/${name}`);

  /** What people do with a VM; each step throws unless it succeeds. */
  async function mainFlow(name: string): Promise<void> {
    const size = 16 * 1024 ** 2;
    const hardware = { memory: { sizeMiB: 64 }, disks: [{ capacityBytes: size }], nics: [{ network: "default" }] };
    const made = await server.succeed("POST", "/vms", { name, ...hardware, start: true });
    const id = String(made.result?.["vmId"]);
    assert.equal((await vmOf(id)).state, "running");
    await server.call("GET", `/vms/${id}/statistics`);
    await server.succeed("POST", `/vms/${id}/snapshots`, { name: "before", memory: false });
    await server.succeed("PATCH", `/vms/${id}`, { description: "changed", disksAdd: [{ capacityBytes: size }] });
    await server.succeed("POST", `/vms/${id}/suspend`);
    await server.succeed("POST", `/vms/${id}/resume`);
    await server.succeed("POST", `/vms/${id}/force-off`);
    assert.equal((await vmOf(id)).state, "shutoff");
    await server.succeed("DELETE", `/vms/${id}?deleteDisks=true&force=true`);
  }

  test("libvirt 7.0: everything works, by the ways that it has", async () => {
    const log: AgeLog = { refused: [] };
    const { proxy, uri } = await proxied(() => oldDaemon(7_000_000n, log));
    await using _proxy = proxy;
    const { result } = await server.succeed("POST", "/hosts", { uri, name: "old" });
    const { id, hardware } = await server.call<Host>("GET", `/hosts/${String(result?.["hostId"])}`);
    assert.equal(hardware?.libvirtVersion, "7.0.0");
    await mainFlow("on-old");
    for (const firmware of ["uefi", "uefi-secure"]) {
      const made = await server.succeed("POST", "/vms", { name: firmware, memory: { sizeMiB: 64 }, firmware });
      const vm = await vmOf(String(made.result?.["vmId"]));
      assert.equal(vm.spec.firmware, firmware);
      await server.succeed("DELETE", `/vms/${vm.id}`);
    }
    assert.equal(log.refused.includes("domainDefineXmlFlags firmware"), false);
    // Not to be fooled by a proxy that hid nothing.
    assert.ok(log.refused.includes("domainUndefineFlags flags"), String(log.refused));
    await server.succeed("DELETE", `/hosts/${id}`);
  });

  test("libvirt 6.10 is refused when it is added, with the reason", async () => {
    const { proxy, uri } = await proxied(() => oldDaemon(6_010_000n, { refused: [] }));
    await using _proxy = proxy;
    const { state, error } = await addHost({ uri, name: "ancient" });
    assert.deepEqual([state, error?.code, error?.field], ["failed", "unsupported", "uri"]);
    assert.match(error?.detail ?? "", /libvirt is 6\.10\.0; Innkeeper needs 7\.0\.0 or newer/);
    assert.match(error?.remedy ?? "", /Debian 11/);
    assert.deepEqual((await server.call<{ items: Host[] }>("GET", "/hosts")).items, []);
  });

  test("libvirt 12 with what nobody knows: what is known works, the rest is shown as unknown", async () => {
    const { proxy, uri } = await proxied(newDaemon);
    await using _proxy = proxy;
    const domainFile = path.join(lab.sharedFolder, "future.xml");
    await writeFile(domainFile, futureXml);
    await host.exec(["virsh", "define", domainFile]);
    const { result } = await server.succeed("POST", "/hosts", { uri, name: "new" });
    const { id, hardware } = await server.call<Host>("GET", `/hosts/${String(result?.["hostId"])}`);
    assert.equal(hardware?.libvirtVersion, "12.0.0");
    const { items } = await server.call<{ items: Vm[] }>("GET", "/vms");
    assert.deepEqual(
      items.map(({ name, state, stateDetail }) => [name, state, stateDetail]),
      [[futureName, "unknown", "unknown"]],
    );
    await mainFlow("on-new");
    await host.exec(["virsh", "undefine", futureName]);
    await server.succeed("DELETE", `/hosts/${id}`);
  });

  test("a daemon that asks for name and password: refused by field until they are right, kept for reconnects", async () => {
    const settings = {
      "/etc/libvirt/libvirtd.conf": 'auth_tls = "sasl"',
      "/etc/sasl2/libvirt.conf": "mech_list: scram-sha-256\nsasldb_path: /etc/libvirt/passwd.db",
    };
    for (const [file, text] of Object.entries(settings)) {
      const redirect = file.includes("sasl2") ? ">" : ">>";
      await host.exec(["sh", "-c", `sed -i /^auth_tls/d ${file}; printf '%s\\n' "$1" ${redirect} ${file}`, "sh", text]);
    }
    const user = ["saslpasswd2", "-p", "-c", "-a", "libvirt", "-f", "/etc/libvirt/passwd.db", "keeper"];
    await host.exec(["sh", "-c", `printf s3cret | ${user.join(" ")}`]);
    await host.killLibvirtd();
    await host.startLibvirtd();
    const { tls } = await labAccess(lab);
    const uri = `qemu+tls://keeper@${host.address}/system`;
    const rows: [request: Record<string, unknown>, field: string, words: RegExp][] = [
      [{ uri, tls }, "sasl.password", /demands a user name and a password/],
      [{ uri, tls, sasl: { password: "wrong" } }, "sasl.password", /password of user "keeper" is wrong/],
      [{ uri, tls, sasl: { userName: "nobody", password: "s3cret" } }, "sasl.userName", /no user "nobody"/],
    ];
    for (const [request, field, words] of rows) {
      const { state, error } = await addHost(request);
      assert.deepEqual([state, error?.code, error?.field], ["failed", "host_refused", field]);
      assert.match(error?.detail ?? "", words);
      assert.ok(!JSON.stringify(error).includes("s3cret"));
    }
    // As people do it: by the command line.
    const file = (name: string): string => path.join(folder, name);
    await writeFile(file("wrong"), "s3cre\n");
    await writeFile(file("right"), "s3cret\n");
    const { ca, cert, key } = lab.clientTls;
    const add = ["host", "add", uri, "--name", "asks", "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key];
    const wrong = await inn([...add, "--password-file", file("wrong")]);
    assert.equal(wrong.exitCode, 77, wrong.errors);
    assert.match(wrong.errors, /password of user "keeper" is wrong/u);
    assert.match(wrong.errors, /--password-file/u);
    const right = await inn([...add, "--password-file", file("right")]);
    assert.equal(right.exitCode, 0, right.errors);
    // A later start of the control plane has nothing but what it kept.
    await server.end("SIGKILL");
    const again = await ServerProcess.start(path.join(folder, "state"));
    again.token = server.token;
    server = again;
    await waitFor(
      "the connection by what was kept",
      async () => {
        const { items } = await server.call<{ items: Host[] }>("GET", "/hosts");
        return items.find(({ name, connectionState }) => name === "asks" && connectionState === "connected");
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
  });
});
