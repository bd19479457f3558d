import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "#connection/connect.ts";
import { ConnectError, ConnectionLostError, LibvirtError } from "#rpc/error.ts";
import { Authority, readPem } from "#testing/certificate.ts";
import { daemonUnavailable, freePort, startDaemon } from "#testing/daemon.ts";
import { createPool, createVolume } from "#testing/fixture.ts";
import { sshUnavailable, startSshServer } from "#testing/ssh-server.ts";
import { fingerprint } from "./known-hosts.ts";
import type { ConnectOptions } from "#connection/connect.ts";
import type { ConnectFailure } from "#rpc/error.ts";
import type { CertificateFiles } from "#testing/certificate.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { SshServer } from "#testing/ssh-server.ts";

function refuses(failure: ConnectFailure, text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnectError, String(error));
    assert.equal(error.failure, failure, error.message);
    assert.match(error.message, text);
    return true;
  };
}

async function works(uri: string, options: ConnectOptions = {}): Promise<string> {
  await using connection = await connect(uri, options);
  assert.equal((await connection.remote.connectGetLibVersion()).libVer > 0n, true);
  return (await connection.remote.connectGetUri()).uri;
}

describe("transports to a real libvirtd", { skip: daemonUnavailable() ?? false, timeout: 120_000 }, () => {
  let folder: string;
  let daemon: Daemon;
  let client: CertificateFiles;
  let strangers: CertificateFiles;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "innkeeper-pki-"));
    const authority = new Authority(folder, "ours");
    client = authority.issue("client", [], "clientAuth");
    strangers = new Authority(folder, "theirs").issue("stranger", [], "clientAuth");
    daemon = await startDaemon({ tls: authority.issue("server", ["IP:127.0.0.1", "DNS:inn.example"], "serverAuth") });
  });
  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("unix: test:///default, qemu:///system, read-only", async () => {
    assert.equal(await works(`test:///default?socket=${daemon.socket}`), "test:///default");
    assert.equal(await works(`qemu+unix:///system?socket=${daemon.socket}`), "qemu:///system");
    await using connection = await connect(`test:///default?socket=${daemon.socket}`, { readOnly: true });
    const { dom } = await connection.remote.domainLookupByName({ name: "test" });
    await assert.rejects(
      connection.remote.domainSuspend({ dom }),
      (error) => error instanceof LibvirtError && error.codeName === "VIR_ERR_OPERATION_DENIED",
    );
  });

  test("tcp", async () => {
    assert.equal(await works(`qemu+tcp://127.0.0.1:${daemon.tcpPort}/system`), "qemu:///system");
    assert.equal(await works(`test+tcp://localhost:${daemon.tcpPort}/default`), "test:///default");
  });

  test("what the driver refuses is libvirt's own error", async () => {
    await assert.rejects(connect(`qemu+tcp://127.0.0.1:${daemon.tcpPort}/nonsense`), LibvirtError);
    await assert.rejects(connect(`nosuch+tcp://127.0.0.1:${daemon.tcpPort}/system`), LibvirtError);
  });

  test("nobody there", async () => {
    await assert.rejects(connect("qemu:///system?socket=/nonexistent/sock"), refuses("unreachable", /no such socket/u));
    const port = await freePort();
    await assert.rejects(connect(`qemu+tcp://127.0.0.1:${port}/system`), refuses("unreachable", /refused/u));
    await assert.rejects(connect("qemu+tcp://no-such-host.invalid/system"), refuses("unreachable", /host name/u));
  });

  test("a server that never answers: deadline and signal", async () => {
    await using server = createServer((socket) => void socket.resume());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await assert.rejects(
      connect(`qemu+tcp://127.0.0.1:${port}/system`, { timeoutMs: 50 }),
      refuses("timeout", /50 ms/u),
    );
    await assert.rejects(
      connect(`qemu+tls://127.0.0.1:${port}/system`, { timeoutMs: 50, tls: readPem(client) }),
      refuses("timeout", /50 ms/u),
    );
    await assert.rejects(
      connect(`qemu+ssh://127.0.0.1:${port}/system`, { timeoutMs: 50, ssh: { password: "x" } }),
      refuses("timeout", /50 ms/u),
    );
    const reason = new Error("never mind");
    await assert.rejects(connect(`qemu+tcp://127.0.0.1:${port}/system`, { signal: AbortSignal.abort(reason) }), reason);
  });

  test("something that is not libvirtd", async () => {
    await using server = createServer((socket) => void socket.resume().end("SSH-2.0-OpenSSH_9.2\r\n"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await assert.rejects(connect(`qemu+tcp://127.0.0.1:${port}/system`), refuses("protocol", /exceeds the limit/u));
  });

  describe("tls", () => {
    test("mutual certificates, address and name checked", async () => {
      const uri = `qemu+tls://127.0.0.1:${daemon.tlsPort}/system`;
      assert.equal(await works(uri, { tls: readPem(client) }), "qemu:///system");
      assert.equal(await works(uri, { tls: { ...readPem(client), serverName: "inn.example" } }), "qemu:///system");
    });

    test("credentials from pkipath", async () => {
      const pki = join(folder, "pki");
      await rm(pki, { recursive: true, force: true });
      await import("node:fs/promises").then(({ mkdir }) => mkdir(pki));
      const names = { ca: "cacert.pem", cert: "clientcert.pem", key: "clientkey.pem" } as const;
      for (const part of ["ca", "cert", "key"] as const)
        writeFileSync(join(pki, names[part]), await readFile(client[part]));
      assert.equal(await works(`test+tls://127.0.0.1:${daemon.tlsPort}/default?pkipath=${pki}`), "test:///default");
      await assert.rejects(
        connect(`test+tls://127.0.0.1:${daemon.tlsPort}/default?pkipath=/nonexistent`),
        refuses("certificate", /cannot read/u),
      );
    });

    test("refused: another name, another CA, no certificate, a stranger's certificate, rubbish", async () => {
      const { tlsPort } = daemon;
      const uri = `qemu+tls://127.0.0.1:${tlsPort}/system`;
      const pem = readPem(client);
      await assert.rejects(
        connect(`qemu+tls://localhost:${tlsPort}/system`, { tls: pem }),
        refuses("certificate", /altnames/u),
      );
      await assert.rejects(
        connect(uri, { tls: { ...pem, serverName: "evil.example" } }),
        refuses("certificate", /altnames/u),
      );
      await assert.rejects(connect(uri, { tls: readPem(strangers) }), refuses("certificate", /certificate/u));
      await assert.rejects(
        connect(uri, { tls: { ...readPem(strangers), ca: pem.ca } }),
        refuses("certificate", /refused/u),
      );
      await assert.rejects(connect(uri, { tls: { ca: pem.ca } }), refuses("certificate", /refused/u));
      await assert.rejects(connect(uri, { tls: { ...pem, key: "rubbish" } }), refuses("certificate", /key/u));
    });

    test("a plain server behind a tls URI", async () => {
      await assert.rejects(
        connect(`qemu+tls://127.0.0.1:${daemon.tcpPort}/system`, { tls: readPem(client), timeoutMs: 3_000 }),
        ConnectError,
      );
    });
  });

  describe("ssh", { skip: sshUnavailable() ?? false, timeout: 120_000 }, () => {
    let server: SshServer;
    let base: string;
    let netcat: string;

    before(async () => {
      server = await startSshServer(daemon, await freePort());
      base = `qemu+ssh://root@127.0.0.1:${server.port}/system`;
      netcat = join(folder, "netcat");
      writeFileSync(
        netcat,
        '#!/bin/sh\n[ "$1" = -q0 ] && shift\n[ "$1" = -U ] || { echo "option requires an argument -- q" >&2; exit 1; }\nexec socat - "UNIX-CONNECT:$2"\n',
        { mode: 0o755 },
      );
    });
    const login = (): { privateKey: string; knownHosts: string } => ({
      privateKey: server.userKey,
      knownHosts: server.knownHosts,
    });

    test("virt-ssh-helper", async () => {
      assert.equal(await works(base, { ssh: login() }), "qemu:///system");
      assert.equal(await works(`${base}?proxy=native`, { ssh: login(), readOnly: true }), "qemu:///system");
      assert.equal(
        await works(`test+ssh://root@127.0.0.1:${server.port}/default?socket=${daemon.socket}`, { ssh: login() }),
        "test:///default",
      );
    });

    test("streams, in channels of the same session and beyond its limit", async () => {
      await using connection = await connect(`${base}?proxy=native`, { ssh: login() });
      await createPool(connection, daemon, "over-ssh");
      const vol = await createVolume(connection, "over-ssh", "v", 3_000_000);
      const content = randomBytes(3_000_000);
      const up = await connection.stream("storageVolUpload", { vol, offset: 0n, length: 3_000_000n });
      const writer = up.writable.getWriter();
      await writer.write(content);
      await writer.close();
      const args = { vol, offset: 0n, length: 0n };
      // sshd allows ten channels a session; the eleventh stream gets a session of its own.
      const streams = await Promise.all(
        Array.from({ length: 11 }, () => connection.stream("storageVolDownload", args)),
      );
      for (const { readable } of streams) {
        const parts: Uint8Array[] = [];
        for await (const chunk of readable) if (chunk instanceof Uint8Array) parts.push(chunk);
        assert.ok(content.equals(Buffer.concat(parts)));
      }
    });

    test("netcat, and the socket forwarded by SSH where there is none", async () => {
      assert.equal(
        await works(`${base}?netcat=${netcat}`, { ssh: login() }).catch((error: unknown) => String(error)),
        "qemu:///system",
      );
      assert.equal(await works(`${base}?socket=${daemon.socket}`, { ssh: login() }), "qemu:///system");
      await assert.rejects(connect(`${base}?socket=/nonexistent`, { ssh: login() }), ConnectError);
    });

    test("the host key decides", async () => {
      const { privateKey, knownHosts } = login();
      const [, , blob = ""] = knownHosts.trim().split(" ");
      const print = fingerprint(Buffer.from(blob, "base64"));
      await assert.rejects(
        connect(base, { ssh: { privateKey, knownHosts: "" } }),
        refuses("host-key", /not in known_hosts.*SHA256:/u),
      );
      const other = knownHosts.replace(blob, `${blob.slice(0, -4)}AAAA`);
      await assert.rejects(
        connect(base, { ssh: { privateKey, knownHosts: other } }),
        refuses("host-key", /another host key/u),
      );
      await assert.rejects(
        connect(base, { ssh: { privateKey, knownHosts: `@revoked ${knownHosts}` } }),
        refuses("host-key", /revoked/u),
      );
      await assert.rejects(
        connect(base, { ssh: { privateKey, hostKeyFingerprint: "SHA256:other" } }),
        refuses("host-key", /SHA256:other/u),
      );
      assert.equal(await works(base, { ssh: { privateKey, hostKeyFingerprint: print } }), "qemu:///system");
      const file = join(folder, "known_hosts");
      const learning = `${base}?known_hosts=${file}&known_hosts_verify=auto`;
      assert.equal(await works(learning, { ssh: { privateKey } }), "qemu:///system");
      assert.equal(await readFile(file, "utf8"), knownHosts);
      assert.equal(await works(`${base}?known_hosts=${file}`, { ssh: { privateKey } }), "qemu:///system");
    });

    test("a wrong key or user is an authentication failure", async () => {
      const { knownHosts } = login();
      const stranger = await readFile(join(daemon.folder, "ssh/host"), "utf8");
      await assert.rejects(
        connect(base, { ssh: { privateKey: stranger, knownHosts } }),
        refuses("authentication", /user root/u),
      );
      await assert.rejects(
        connect(base, { ssh: { privateKey: "rubbish", knownHosts } }),
        refuses("authentication", /no SSH key/u),
      );
    });

    test("what the far side says is in the error", async () => {
      const uri = `qemu+ssh://root@127.0.0.1:${server.port}/system?netcat=${netcat}&socket=/nonexistent`;
      await assert.rejects(connect(uri, { ssh: login() }), refuses("unreachable", /No such file/u));
    });
  });

  test("a SASL login that stands in the way is named", async () => {
    const strict = await startDaemon({ configuration: ['auth_tcp = "sasl"'] });
    try {
      await assert.rejects(
        connect(`qemu+tcp://127.0.0.1:${strict.tcpPort}/system`),
        refuses("authentication", /SASL/u),
      );
    } finally {
      await strict.stop();
    }
  });

  test("closing rejects what is pending and resolves closed", async () => {
    const connection = await connect(`test:///default?socket=${daemon.socket}`);
    await connection.close();
    assert.deepEqual(await connection.closed, {});
    await assert.rejects(
      connection.remote.connectGetLibVersion(),
      (error) => error instanceof ConnectionLostError && error.reason === "closed",
    );
    await connection.close();
  });
});
