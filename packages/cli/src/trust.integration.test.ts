/** Login over TLS against a whole control plane: root's own machine, first use, fingerprints, and a certificate that changed. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempDisposable, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { type RunningServer, startServer } from "@innkeeper/server/app/server.ts";
import { type Captured, captured } from "#test-support/captured.ts";
import { normalFingerprint } from "#trust.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

suite("trust", () => {
  let server: RunningServer;
  let state: AsyncDisposable & { readonly path: string };
  let folder: AsyncDisposable & { readonly path: string };
  before(async () => {
    state = await mkdtempDisposable(path.join(tmpdir(), "inn-trust-state-"));
    folder = await mkdtempDisposable(path.join(tmpdir(), "inn-trust-"));
    server = await start();
  });
  after(async () => {
    await server.close();
    await folder[Symbol.asyncDispose]();
    await state[Symbol.asyncDispose]();
  });

  const secret = "correct horse battery staple";
  const start = async (): Promise<RunningServer> => {
    const config = {
      stateFolder: state.path,
      listenAddress: "127.0.0.1",
      listenPort: 0,
      logLevel: "error",
      local: false,
      allowPlainTcp: false,
      resetAdmin: false,
      adminPassword: secret,
      tls: { kind: "built-in", names: [] },
    } as const;
    return await startServer(config, { log: quiet });
  };

  /** `home`: where the configuration is. Without `state` it is another machine. */
  async function inn(home: string, words: string, environment: Record<string, string> = {}): Promise<Captured> {
    const elsewhere = { INN_STATE: path.join(folder.path, "no-state") };
    return await captured(words.split(" "), {
      environment: {
        ...elsewhere,
        XDG_CONFIG_HOME: path.join(folder.path, home),
        INN_PASSWORD: secret,
        ...environment,
      },
    });
  }
  const saved = async (): Promise<{ caCertificate: string }> => {
    const text = await readFile(path.join(folder.path, "pinned/innkeeper/config.json"), "utf8");
    return (JSON.parse(text) as { servers: { it: { caCertificate: string } } }).servers.it;
  };
  let token = "";
  const fingerprint = async (): Promise<string> =>
    new X509Certificate(await readFile(path.join(state.path, "tls/trust.pem"), "utf8")).fingerprint256;

  test("on the server's own machine there is nothing to ask", async () => {
    const here = { INN_STATE: state.path };
    const login = await inn("root", `login ${server.url} --user admin`, here);
    assert.equal(login.exitCode, 0, login.errors);
    assert.equal((await inn("root", "whoami")).exitCode, 0, "it is remembered");
    token = (await inn("root", "user token create ci")).output.trim();
    const byToken = { INN_SERVER: server.url, INN_TOKEN: token };
    const rooted = await inn("none", "vm list -o json", { ...here, ...byToken });
    assert.equal(rooted.output, "[]\n", rooted.errors);
    const caFile = { INN_CA_FILE: path.join(state.path, "tls/trust.pem") };
    const script = await inn("none", "vm list -o json", { ...caFile, ...byToken });
    assert.equal(script.output, "[]\n", script.errors);
  });

  test("elsewhere the fingerprint is shown, and only the right one is accepted", async () => {
    const own = await fingerprint();
    const silent = await inn("far", `login ${server.url} --user admin`);
    assert.equal(silent.exitCode, 64);
    assert.ok(silent.errors.includes(own), silent.errors);
    const wrong = await inn("far", `login ${server.url} --user admin --fingerprint ${"0".repeat(64)}`);
    assert.equal(wrong.exitCode, 76);
    assert.ok(wrong.errors.includes(own), wrong.errors);
    assert.equal((await inn("far", `login ${server.url} --user admin --fingerprint nonsense`)).exitCode, 64);
    const right = await inn("far", `login ${server.url} --user admin --fingerprint ${own.toLowerCase()}`);
    assert.equal(right.exitCode, 0, right.errors);
    assert.equal((await inn("far", "whoami")).exitCode, 0);
    const unknown = await inn("other", "vm list", { INN_SERVER: server.url, INN_TOKEN: token });
    assert.equal(unknown.exitCode, 76);
    assert.match(unknown.errors, /not trusted: SHA-256 .*Nothing was sent/);
  });

  test("a renewed certificate is the same to clients; another authority's is refused with both fingerprints", async () => {
    const before = await fingerprint();
    assert.equal((await inn("pinned", `login ${server.url} --user admin --fingerprint ${before} --as it`)).exitCode, 0);
    await rm(path.join(state.path, "tls"), { recursive: true });
    await server.close();
    server = await start();
    const point = async (): Promise<Captured> => {
      const { caCertificate } = await saved();
      const file = path.join(folder.path, "pin.pem");
      await writeFile(file, caCertificate);
      return await inn("pinned", "vm list", { INN_CA_FILE: file, INN_SERVER: server.url, INN_TOKEN: token });
    };
    const renewed = await point();
    assert.equal(renewed.exitCode, 0, renewed.errors);
    await rm(path.join(state.path, "tls"), { recursive: true });
    await rm(path.join(state.path, "ca"), { recursive: true });
    await server.close();
    server = await start();
    const changed = await point();
    assert.equal(changed.exitCode, 76);
    const now = await fingerprint();
    assert.ok(changed.errors.includes(before) && changed.errors.includes(now) && before !== now, changed.errors);
    assert.match(changed.errors, /has changed.*Nothing was sent/);
  });

  test("plain HTTP on its port is explained", async () => {
    const plain = await inn("plain", "vm list", { INN_SERVER: server.url.replace("https", "http"), INN_TOKEN: "x" });
    assert.notEqual(plain.exitCode, 0);
    assert.match(plain.errors, /speaks TLS/);
  });
});

test("fingerprints are read as they are written anywhere", () => {
  const hex = "AB".repeat(32);
  const colons = hex.replaceAll(/(..)(?=.)/g, "$1:");
  for (const text of [hex, hex.toLowerCase(), colons, `SHA256:${hex}`, `sha256=${colons}`]) {
    assert.equal(normalFingerprint(text), colons);
  }
  assert.throws(() => normalFingerprint("AB:CD"), /no SHA-256 fingerprint/);
});
