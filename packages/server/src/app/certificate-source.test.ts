/** The built-in certificate: kept while it is good, renewed before its end and for new names, never without its key. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { tmpdir } from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { builtInCertificate } from "./certificate-source.ts";

const dayMs = 86_400_000;

async function folderOf(context: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-certificate-"));
  context.after(() => rm(folder, { recursive: true }));
  return folder;
}

test("it is for this machine's names, loopback, and what is listened on", async (context) => {
  const stateFolder = await folderOf(context);
  const source = builtInCertificate({ stateFolder, listenAddress: "192.0.2.7", names: ["inn.example.org"] });
  const { cert, trustPem } = await source.read(Date.now());
  const certificate = new X509Certificate(cert);
  for (const name of ["localhost", "inn.example.org", hostname()]) assert.ok(certificate.checkHost(name), name);
  for (const address of ["127.0.0.1", "::1", "192.0.2.7"]) assert.ok(certificate.checkIP(address), address);
  assert.equal(certificate.checkHost("example.org"), undefined);
  assert.ok(certificate.verify(new X509Certificate(trustPem).publicKey));
  assert.equal(cert.split("BEGIN CERTIFICATE").length, 3, "the authority's goes with it");
});

test("it is kept over restarts, and renewed in time, for new names, and when it is damaged; the authority stays", async (context) => {
  const stateFolder = await folderOf(context);
  const now = Date.now();
  const source = (names: string[] = []) => builtInCertificate({ stateFolder, listenAddress: "127.0.0.1", names });
  const first = await source().read(now);
  assert.deepEqual(await source().read(now + 300 * dayMs), first);
  assert.equal(await source().hasChanged(first, now + 300 * dayMs), false);
  assert.equal(await source().hasChanged(first, now + 350 * dayMs), true);
  assert.equal(await source(["new.example.org"]).hasChanged(first, now), true);
  const named = await source(["new.example.org"]).read(now);
  assert.notEqual(named.cert, first.cert);
  assert.equal(named.trustPem, first.trustPem);
  assert.equal(await source().hasChanged(named, now), false, "a name that is gone is no reason");
  await writeFile(path.join(stateFolder, "tls/server.pem"), named.cert);
  assert.notEqual((await source().read(now)).cert, named.cert);
});
