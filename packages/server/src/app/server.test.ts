/** Starting and stopping: alone on its state, refusals by name, the first password once, TLS. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { get } from "node:https";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import { silentLogger } from "#core/log.ts";
import { ConfigError, type ServerConfig } from "./config.ts";
import { startServer } from "./server.ts";
import { testConfig } from "./test-support/test-config.ts";

async function configIn(context: TestContext, change: Partial<ServerConfig> = {}): Promise<ServerConfig> {
  const stateFolder = await mkdtemp(path.join(tmpdir(), "inn-start-"));
  context.after(() => rm(stateFolder, { recursive: true }));
  return testConfig(stateFolder, change);
}

function refused(flag: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof ConfigError && flag.test(error.message);
}

const start = (config: ServerConfig) => startServer(config, { log: silentLogger });

test("the first password is told once; the state is its owner's alone; a second server on it is refused", async (context) => {
  const config = await configIn(context);
  const stateFolder = path.join(config.stateFolder, "new", "state");
  const own = { ...config, stateFolder };
  const first = await start(own);
  assert.match(first.firstPassword ?? "", /^[a-z0-9-]{23}$/);
  assert.equal((await stat(stateFolder)).mode & 0o777, 0o700);
  for (const file of ["store.sqlite", "secret.key"]) {
    assert.equal((await stat(path.join(stateFolder, file))).mode & 0o777, 0o600);
  }
  await assert.rejects(start(own), { code: "store_unavailable" });
  await first.close();
  const again = await start(own);
  assert.equal(again.firstPassword, undefined);
  await again.close();
});

test("a port that is taken and a state folder that can't be made are refused by their flag, and nothing keeps running", async (context) => {
  const config = await configIn(context);
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const address = taken.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await assert.rejects(start({ ...config, listenPort: port }), refused(/^--listen .*another program/));
  await new Promise((resolve) => taken.close(resolve));
  const file = path.join(config.stateFolder, "file");
  await writeFile(file, "");
  await assert.rejects(start({ ...config, stateFolder: path.join(file, "below") }), refused(/^--state .*no folder/));
  const now = await start({ ...config, listenPort: port });
  await now.close();
});

/** One request over TLS, verified against `ca`: the status, headers and the certificate that served it. */
async function secureGet(url: string, ca: string, options: SecureContextOptions = {}) {
  return await new Promise<{ status: number; headers: IncomingHttpHeaders; serial: string }>((resolve, reject) => {
    get(`${url}/api/v1/health`, { ca, agent: false, ...options }, (response) => {
      response.resume();
      const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, serial: serialNumber });
    }).on("error", reject);
  });
}

test("it speaks TLS by itself, with a certificate of its own authority; who comes without is told", async (context) => {
  const config = await configIn(context, { tls: { kind: "built-in", names: [] } });
  await using server = await start(config);
  assert.match(server.url, /^https:/);
  const trust = await readFile(path.join(config.stateFolder, "tls/trust.pem"), "utf8");
  assert.equal(new X509Certificate(trust).fingerprint256, server.fingerprint);
  assert.equal((await stat(path.join(config.stateFolder, "tls/server.pem"))).mode & 0o777, 0o600);
  const { status, headers } = await secureGet(server.url, trust);
  assert.equal(status, 200);
  assert.match(String(headers["strict-transport-security"]), /max-age/);
  await secureGet(server.url.replace("127.0.0.1", "localhost"), trust);
  await secureGet(server.url, trust, { maxVersion: "TLSv1.2" });
  await assert.rejects(secureGet(server.url, trust, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1" }));
  await assert.rejects(secureGet(server.url, CertificateAuthority.ephemeral().certificatePem), /certificate/);
  // A handshake that fails does not keep its connection.
  const { hostname, port } = new URL(server.url);
  const broken = connect(Number(port), hostname).on("error", () => undefined);
  broken.resume().write(Buffer.from([22, 3, 1, 0, 5, 1, 2, 3, 4, 5]));
  await once(broken, "close");
  const plain = await fetch(`${server.url.replace("https", "http")}/api/v1/health`);
  assert.equal(plain.status, 400);
  assert.match(plain.headers.get("content-type") ?? "", /problem\+json/);
  assert.match(await plain.text(), /speaks TLS.*https:\/\//);
});

test("files that are given are served, and anew when they change; what can't be used never is", async (context) => {
  const folder = (await configIn(context)).stateFolder;
  const [cert, key] = [path.join(folder, "cert.pem"), path.join(folder, "key.pem")];
  const authority = CertificateAuthority.ephemeral();
  const place = async (): Promise<string> => {
    const issued = authority.issue({ commonName: "inn", purposes: ["server"], addresses: ["127.0.0.1"] });
    await Promise.all([writeFile(cert, issued.certificatePem), writeFile(key, issued.keyPem)]);
    return issued.serialNumber;
  };
  const config = { ...(await configIn(context)), tls: { kind: "files", cert, key } as const };
  await assert.rejects(start(config), refused(/--tls-cert .*ENOENT/));
  await writeFile(cert, "no certificate");
  await writeFile(key, "no key");
  await assert.rejects(start(config), refused(/--tls-cert .*no PEM certificate/));
  const first = await place();
  const own = await readFile(key, "utf8");
  await writeFile(key, authority.issue({ commonName: "x", purposes: ["client"] }).keyPem);
  await assert.rejects(start(config), refused(/--tls-key .*not the key of/));
  await writeFile(key, own);
  await using server = await start(config);
  assert.equal((await secureGet(server.url, authority.certificatePem)).serial, first);
  const second = await place();
  await server.reload();
  assert.equal((await secureGet(server.url, authority.certificatePem)).serial, second);
  await writeFile(cert, "broken");
  await server.reload();
  assert.equal((await secureGet(server.url, authority.certificatePem)).serial, second);
  // The leaf itself is what clients of this machine trust.
  const trust = await readFile(path.join(config.stateFolder, "tls/trust.pem"), "utf8");
  assert.equal(new X509Certificate(trust).serialNumber, second);
});
