/** Starting and stopping: alone on its state, refusals by name, the first password once, TLS. */
import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import { silentLogger } from "#core/log.ts";
import { ConfigError, type ServerConfig } from "./config.ts";
import { startServer } from "./server.ts";

async function configIn(context: TestContext, change: Partial<ServerConfig> = {}): Promise<ServerConfig> {
  const stateFolder = await mkdtemp(path.join(tmpdir(), "inn-start-"));
  context.after(() => rm(stateFolder, { recursive: true }));
  return {
    stateFolder,
    listenAddress: "127.0.0.1",
    listenPort: 0,
    logLevel: "error",
    local: false,
    allowPlainTcp: false,
    resetAdmin: false,
    ...change,
  };
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

test("with a certificate it speaks TLS alone", async (context) => {
  const authority = CertificateAuthority.ephemeral();
  const issued = authority.issue({ commonName: "inn", purposes: ["server"], addresses: ["127.0.0.1"] });
  const config = await configIn(context, { tls: { cert: issued.certificatePem, key: issued.keyPem } });
  await using server = await start(config);
  assert.match(server.url, /^https:/);
  const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
    get(`${server.url}/api/v1/health`, { ca: authority.certificatePem }, (response) => {
      response.resume();
      resolve(response.headers);
    }).on("error", reject);
  });
  assert.match(String(headers["strict-transport-security"]), /max-age/);
  await assert.rejects(fetch(server.url.replace("https", "http")));
});
