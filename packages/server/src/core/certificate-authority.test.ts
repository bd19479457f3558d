/** The built-in authority's certificates are taken by Node's TLS, by openssl and by GnuTLS, and nobody else's are. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempDisposable, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { connect, createServer, type TLSSocket } from "node:tls";
import {
  CertificateAuthority,
  CertificateAuthorityError,
  type IssuedCertificate,
} from "#core/certificate-authority.ts";
import { CertificateRequestError } from "#core/x509-certificate.ts";

const loopback = "127.0.0.1";

function scratchFolder() {
  return mkdtempDisposable(path.join(tmpdir(), "certificate-authority-"));
}

/** Resolves to the client's view of a mutual TLS handshake over a real socket. */
async function handshake(ca: CertificateAuthority, server: IssuedCertificate, client: IssuedCertificate, host: string) {
  const listener = createServer({
    ca: ca.certificatePem,
    cert: server.certificatePem,
    key: server.keyPem,
    requestCert: true,
    rejectUnauthorized: true,
  });
  listener.on("secureConnection", (socket: TLSSocket) => socket.end(String(socket.getPeerCertificate().subject.CN)));
  listener.on("tlsClientError", () => undefined);
  listener.listen(0, loopback);
  await once(listener, "listening");
  const address = listener.address();
  assert(typeof address === "object" && address !== null);
  const socket = connect({
    host: loopback,
    port: address.port,
    servername: host,
    ca: ca.certificatePem,
    cert: client.certificatePem,
    key: client.keyPem,
  });
  socket.setTimeout(5000, () => socket.destroy(new Error("the handshake took too long")));
  try {
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    // With TLS 1.3 a client learns only after its own handshake that the server refused it: the socket closes.
    if (text === "") throw new Error("the server closed the socket");
    return text;
  } finally {
    socket.destroy();
    listener.close();
  }
}

test("an authority is made once, private, and the same for everyone who opens the folder at once", async () => {
  await using scratch = await scratchFolder();
  const folder = path.join(scratch.path, "ca");
  const opened = await Promise.all(Array.from({ length: 8 }, () => CertificateAuthority.open(folder)));
  const again = await CertificateAuthority.open(folder);
  assert.equal(new Set([...opened, again].map((ca) => ca.certificatePem)).size, 1);
  assert.deepEqual((await readdir(folder)).toSorted(), ["authority.pem", "ca-cert.pem"]);
  assert.equal((await stat(path.join(folder, "authority.pem"))).mode & 0o777, 0o600);
  assert.equal(await readFile(CertificateAuthority.certificateFile(folder), "utf8"), again.certificatePem);
  assert(!again.certificatePem.includes("PRIVATE"));
});

test("a mutual TLS handshake works by name and tells the server who the client is", async () => {
  const ca = CertificateAuthority.ephemeral();
  const server = ca.issue({
    commonName: "h1",
    purposes: ["server"],
    dnsNames: ["h1.example", "*.lab.example"],
    addresses: [loopback, "fd00::1"],
  });
  const client = ca.issue({ commonName: "Innkeeper 客栈", purposes: ["client"] });
  assert.equal(await handshake(ca, server, client, "h1.example"), "Innkeeper 客栈");
  assert.equal(await handshake(ca, server, client, "any.lab.example"), "Innkeeper 客栈");
  const certificate = new X509Certificate(server.certificatePem);
  assert.equal(certificate.checkIP("fd00::1"), "fd00::1");
  assert.equal(certificate.checkIP("10.0.0.1"), undefined);
});

test("a wrong name, a foreign authority and a wrong purpose are refused", async () => {
  const ca = CertificateAuthority.ephemeral();
  const stranger = CertificateAuthority.ephemeral();
  const names = { dnsNames: ["h1.example"] };
  const server = ca.issue({ commonName: "h1", purposes: ["server"], ...names });
  const client = ca.issue({ commonName: "admin", purposes: ["client"] });
  await assert.rejects(handshake(ca, server, client, "h2.example"), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
  const foreignServer = stranger.issue({ commonName: "h1", purposes: ["server"], ...names });
  await assert.rejects(handshake(ca, foreignServer, client, "h1.example"), /unable to verify|self.signed|signature/iu);
  const foreignClient = stranger.issue({ commonName: "admin", purposes: ["client"] });
  await assert.rejects(handshake(ca, server, foreignClient, "h1.example"), /alert|ECONNRESET|socket/iu);
  const notAServer = ca.issue({ commonName: "h1", purposes: ["client"], ...names });
  await assert.rejects(handshake(ca, notAServer, client, "h1.example"), { code: "INVALID_PURPOSE" });
});

test("openssl verifies what is issued, strictly", async () => {
  await using scratch = await scratchFolder();
  const ca = await CertificateAuthority.open(scratch.path);
  const issued = ca.issue({ commonName: "h1", purposes: ["server", "client"], addresses: ["10.77.1.1"] });
  const file = path.join(scratch.path, "h1.pem");
  await writeFile(file, issued.certificatePem);
  const trust = ["-x509_strict", "-CAfile", CertificateAuthority.certificateFile(scratch.path)];
  for (const purpose of ["sslserver", "sslclient"]) {
    const out = execFileSync("openssl", ["verify", ...trust, "-purpose", purpose, file], { encoding: "utf8" });
    assert.equal(out, `${file}: OK\n`);
  }
  const byAddress = ["verify", ...trust, "-verify_ip", "10.77.1.1", file];
  assert.equal(execFileSync("openssl", byAddress, { encoding: "utf8" }), `${file}: OK\n`);
  const text = execFileSync("openssl", ["x509", "-in", file, "-noout", "-serial"], { encoding: "utf8" });
  assert.equal(text, `serial=${issued.serialNumber}\n`);
});

test("nothing is valid for longer than its authority, and an expired authority issues nothing", () => {
  let now = new Date("2030-01-01T00:00:00.500Z");
  const ca = CertificateAuthority.ephemeral({ validDays: 10, now: () => now });
  const issued = ca.issue({ commonName: "c", purposes: ["client"], validDays: 365 });
  assert.deepEqual(issued.notAfter, new Date("2030-01-11T00:00:00Z"));
  assert.deepEqual(issued.notBefore, new Date("2029-12-31T00:00:00Z"));
  now = new Date("2030-01-12T00:00:00Z");
  assert.throws(() => ca.issue({ commonName: "c", purposes: ["client"] }), CertificateAuthorityError);
  const farFuture = CertificateAuthority.ephemeral({ validDays: 100 * 365, now: () => new Date("2030-01-01") });
  assert.equal(farFuture.notAfter.getUTCFullYear(), 2129, "dates past 2049 need GeneralizedTime");
});

test("a request that no certificate fits is refused with what is wrong", () => {
  const ca = CertificateAuthority.ephemeral();
  const purposes = ["server"] as const;
  const bad: [Parameters<typeof ca.issue>[0], RegExp][] = [
    [{ commonName: "", purposes, dnsNames: ["a"] }, /common name has 1 to 64/u],
    [{ commonName: "x".repeat(65), purposes, dnsNames: ["a"] }, /not 65/u],
    [{ commonName: "a\0b", purposes, dnsNames: ["a"] }, /control characters/u],
    [{ commonName: "a", purposes: [], dnsNames: ["a"] }, /purpose/u],
    [{ commonName: "a", purposes }, /at least one host name or address/u],
    [{ commonName: "a", purposes, dnsNames: ["10.0.0.1"] }, /"10.0.0.1" is not a host name/u],
    [{ commonName: "a", purposes, dnsNames: ["a b"] }, /"a b" is not a host name/u],
    [{ commonName: "a", purposes, dnsNames: ["-a"] }, /"-a" is not a host name/u],
    [{ commonName: "a", purposes, addresses: ["10.0.0.256"] }, /"10.0.0.256" is not an IP address/u],
    [{ commonName: "a", purposes, addresses: ["fe80::1%eth0"] }, /not an IP address/u],
    [{ commonName: "a", purposes, dnsNames: ["a"], validDays: 0 }, /validDays/u],
    [{ commonName: "a", purposes, dnsNames: ["a"], validDays: Number.NaN }, /validDays/u],
  ];
  for (const [request, message] of bad) {
    assert.throws(
      () => ca.issue(request),
      (error) => error instanceof CertificateRequestError && message.test(error.message),
    );
  }
});

test("a damaged or foreign authority file is named, and left as it is", async () => {
  await using scratch = await scratchFolder();
  await CertificateAuthority.open(scratch.path);
  const file = path.join(scratch.path, "authority.pem");
  const good = await readFile(file, "utf8");
  const other = await readFile(path.join((await openOther(scratch.path)).folder, "authority.pem"), "utf8");
  const mixed = good.slice(0, good.indexOf("-----BEGIN CERT")) + other.slice(other.indexOf("-----BEGIN CERT"));
  for (const text of ["", "junk", good.slice(0, 300), mixed]) {
    await writeFile(file, text);
    await assert.rejects(
      CertificateAuthority.open(scratch.path),
      (error) => error instanceof CertificateAuthorityError && error.message.includes(file),
    );
    assert.equal(await readFile(file, "utf8"), text);
  }
});

async function openOther(parent: string): Promise<{ folder: string }> {
  const folder = path.join(parent, "other");
  await CertificateAuthority.open(folder);
  return { folder };
}
