// Logging in to a real libvirtd that demands SASL: Debian's libsasl2-modules, users made by saslpasswd2.
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ConnectError } from "#rpc/error.ts";
import { Authority, readPem } from "#testing/certificate.ts";
import { daemonUnavailable, startDaemon } from "#testing/daemon.ts";
import { createPool, createVolume } from "#testing/fixture.ts";
import { connect } from "./connect.ts";
import type { LoginSubject } from "#rpc/error.ts";
import type { Daemon } from "#testing/daemon.ts";
import type { ConnectOptions } from "./connect.ts";

const reason = daemonUnavailable() ?? (existsSync("/usr/sbin/saslpasswd2") ? null : "needs Debian's sasl2-bin");
/** Commas and equals signs are SCRAM's own; the ligature is one that SASLprep would take apart. */
const users = { keeper: "s3cret", "odd,=name": "pässwörd ﬁ, =" } as const;

function refuses(subject: LoginSubject, text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnectError, String(error));
    assert.deepEqual([error.failure, error.subject], ["authentication", subject], error.message);
    assert.match(error.message, text);
    for (const password of Object.values(users)) assert.ok(!error.message.includes(password));
    return true;
  };
}

describe("SASL with a real libvirtd", { skip: reason ?? false, timeout: 120_000 }, () => {
  let folder: string;
  let daemon: Daemon;
  let tls: NonNullable<ConnectOptions["tls"]>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "innkeeper-sasl-"));
    const authority = new Authority(folder, "ca");
    tls = readPem(authority.issue("client", [], "clientAuth"));
    const database = join(folder, "passwd.db");
    const settings = [
      "mech_list: scram-sha-1 scram-sha-256 scram-sha-512 plain digest-md5",
      "pwcheck_method: auxprop",
      `sasldb_path: ${database}`,
    ];
    await writeFile(join(folder, "libvirt.conf"), `${settings.join("\n")}\n`);
    for (const [name, password] of Object.entries(users)) {
      execFileSync("/usr/sbin/saslpasswd2", ["-p", "-c", "-a", "libvirt", "-f", database, name], { input: password });
    }
    daemon = await startDaemon({
      tls: authority.issue("server", ["IP:127.0.0.1"], "serverAuth"),
      configuration: ['auth_tls = "sasl"', 'auth_tcp = "sasl"', 'auth_unix_rw = "sasl"'],
      prelude: [`mount --bind "${join(folder, "libvirt.conf")}" /etc/sasl2/libvirt.conf`],
    });
  });
  after(async () => {
    await daemon?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const overTls = (user = "keeper", query = ""): string => {
    const name = user === "" ? "" : `${encodeURIComponent(user)}@`;
    return `test+tls://${name}127.0.0.1:${daemon.tlsPort}/default${query}`;
  };
  const login = async (uri: string, sasl?: ConnectOptions["sasl"]): Promise<string> => {
    await using connection = await connect(uri, { tls, ...(sasl === undefined ? {} : { sasl }) });
    return (await connection.remote.connectGetUri()).uri;
  };

  for (const mechanism of ["scram-sha-512", "scram-sha-256", "scram-sha-1", "plain"]) {
    test(`${mechanism}: right, wrong password, unknown user`, async () => {
      const query = `?auth=sasl.${mechanism}`;
      for (const [name, password] of Object.entries(users)) {
        assert.equal(await login(overTls(name, query), { password }), "test:///default");
      }
      await assert.rejects(login(overTls("keeper", query), { password: "wrong" }), refuses("password", /"keeper"/u));
      const unknown = mechanism === "plain" ? refuses("password", /"nobody"/u) : refuses("user", /no user "nobody"/u);
      await assert.rejects(login(overTls("nobody", query), { password: "s3cret" }), unknown);
    });
  }

  test("the strongest is taken without being asked for; the name may be given beside the URI; unix sockets too", async () => {
    assert.equal(await login(overTls(), { password: "s3cret" }), "test:///default");
    assert.equal(await login(overTls(""), { userName: "keeper", password: "s3cret" }), "test:///default");
    const unix = `test+unix:///default?socket=${daemon.socket}`;
    assert.equal(await login(unix, { userName: "keeper", password: "s3cret" }), "test:///default");
    await assert.rejects(login(unix, { userName: "keeper", password: "wrong" }), refuses("password", /password/u));
  });

  test("what is missing or can't work is said before anything is sent", async () => {
    await assert.rejects(login(overTls()), refuses("password", /none were given/u));
    await assert.rejects(login(overTls(), { password: "" }), refuses("password", /none was given/u));
    await assert.rejects(login(overTls(""), { password: "s3cret" }), refuses("user", /user name/u));
    await assert.rejects(login(overTls(), { password: "a\0b" }), refuses("password", /NUL/u));
    await assert.rejects(login(overTls(), { password: "x".repeat(1_025) }), refuses("password", /1024/u));
    const other = overTls("keeper", "?auth=sasl.gssapi");
    await assert.rejects(login(other, { password: "s3cret" }), refuses("mechanism", /SCRAM-SHA-256.*mech_list/u));
    const plain = overTls("keeper", "?auth=sasl.plain&no_verify=1");
    await assert.rejects(login(plain, { password: "s3cret" }), refuses("mechanism", /possible: \)/u));
    const tcp = `test+tcp://keeper@127.0.0.1:${daemon.tcpPort}/default`;
    await assert.rejects(login(tcp, { password: "s3cret" }), refuses("mechanism", /plain TCP.*use TLS/u));
  });

  test("streams log in on their own connections, and a daemon that asks for nothing is not told the password", async () => {
    const uri = `qemu+tls://keeper@127.0.0.1:${daemon.tlsPort}/system`;
    await using connection = await connect(uri, { tls, sasl: { password: "s3cret" } });
    await createPool(connection, daemon, "sasl");
    const vol = await createVolume(connection, "sasl", "v", 4_096);
    const { readable, completed } = await connection.stream("storageVolDownload", { vol, offset: 0n, length: 0n });
    let size = 0;
    for await (const chunk of readable) if (chunk instanceof Uint8Array) size += chunk.byteLength;
    await completed;
    assert.equal(size, 4_096);
    await using open = await startDaemon().then((free) => ({ free, [Symbol.asyncDispose]: () => free.stop() }));
    const free = `test+unix:///default?socket=${open.free.socket}`;
    assert.equal(await login(free, { userName: "keeper", password: "s3cret" }), "test:///default");
  });
});
