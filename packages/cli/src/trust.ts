/**
 * Which server's certificate the CLI trusts: what was pinned at login; on the server's own machine what its state folder
 * names; else the public authorities. What is pinned is an authority's certificate, whose servers must also be called as
 * they say, or one server's own, which is trusted as it is and under any name.
 */
import type { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import path from "node:path";
import type { ConnectionOptions } from "node:tls";
import { CliError, usageError } from "#cli-error.ts";

type TrustOptions = Pick<ConnectionOptions, "ca" | "allowPartialTrustChain" | "checkServerIdentity">;

/** Options of node:tls under which exactly what the PEM names is trusted. */
export async function trustOptions(trustPem: string): Promise<TrustOptions> {
  const [{ X509Certificate: Certificate }, { checkServerIdentity }] = await Promise.all([
    import("node:crypto"),
    import("node:tls"),
  ]);
  const { fingerprint256 } = new Certificate(trustPem);
  return {
    ca: trustPem,
    // X509_V_FLAG_PARTIAL_CHAIN: a certificate that is pinned need not be an authority's.
    allowPartialTrustChain: true,
    checkServerIdentity: (host, peer) =>
      peer.fingerprint256 === fingerprint256 ? undefined : checkServerIdentity(host, peer),
  };
}

export function isLoopback(server: URL): boolean {
  return /^(localhost|127\.[\d.]+|\[::1\])$/.test(server.hostname);
}

/** What the control plane on this machine leaves for its clients (server: app/api-certificate.ts). Only root may read it. */
export function localTrust(server: URL, environment: Readonly<Record<string, string | undefined>>): string | undefined {
  if (server.protocol !== "https:" || !isLoopback(server)) return undefined;
  const state = environment["INN_STATE"];
  try {
    return readFileSync(
      path.join(state === undefined || state === "" ? "/var/lib/innkeeper" : state, "tls/trust.pem"),
      "utf8",
    );
  } catch {
    return undefined;
  }
}

interface PresentedCertificate {
  readonly server: X509Certificate;
  /** What to pin: its authority's certificate where the server shows it and is called as it says, else its own. */
  readonly pin: X509Certificate;
}

const handshakeTimeoutMs = 15_000;

/** The certificate that a server shows, trusted or not. Nothing is sent to it. */
export async function presentedCertificate(server: URL, signal: AbortSignal): Promise<PresentedCertificate> {
  const [{ X509Certificate: Certificate }, { connect }] = await Promise.all([
    import("node:crypto"),
    import("node:tls"),
  ]);
  const host = server.hostname.replace(/^\[(.*)\]$/, "$1");
  const name = isIP(host) === 0 ? { servername: host } : {};
  const port = server.port === "" ? 443 : Number(server.port);
  const socket = connect({ host, port, ...name, rejectUnauthorized: false });
  const drop = (): void => void socket.destroy(new Error("it was given up"));
  signal.addEventListener("abort", drop, { once: true });
  socket.setTimeout(handshakeTimeoutMs, drop);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    const shown = socket.getPeerCertificate(true);
    const own = new Certificate(shown.raw);
    const issuer = shown.issuerCertificate?.raw === undefined ? own : new Certificate(shown.issuerCertificate.raw);
    const isNamed = (isIP(host) === 0 ? own.checkHost(host) : own.checkIP(host)) !== undefined;
    const isAuthority = issuer.ca && own.checkIssued(issuer) && own.verify(issuer.publicKey);
    return { server: own, pin: isNamed && isAuthority ? issuer : own };
  } finally {
    signal.removeEventListener("abort", drop);
    socket.destroy();
  }
}

/** `SHA256:ab…`, `AB:CD:…` or plain hex, as openssl, browsers and `inn up` write it: upper case with colons. */
export function normalFingerprint(text: string): string {
  const hex = text
    .replace(/^sha-?256[:=]/i, "")
    .replaceAll(/[:\s]/g, "")
    .toUpperCase();
  if (/^[0-9A-F]{64}$/.test(hex)) return hex.replaceAll(/(..)(?=.)/g, "$1:");
  throw usageError(`"${text}" is no SHA-256 fingerprint`, "It has 64 hexadecimal digits, as `inn up` prints it.");
}

/** Why a certificate was refused, with both fingerprints where one was known. */
export async function untrustedError(
  server: URL,
  trustPem: string | undefined,
  cause: NodeJS.ErrnoException,
): Promise<CliError> {
  const { X509Certificate: Certificate } = await import("node:crypto");
  const detail = { exitCode: 76, cause }; // EX_PROTOCOL, sysexits.h; the same as host_untrusted
  const { origin } = server;
  const shown = await presentedCertificate(server, AbortSignal.timeout(handshakeTimeoutMs)).catch(() => undefined);
  if (shown === undefined) return new CliError(`the certificate of ${origin} is not trusted: ${cause.message}`, detail);
  const now = shown.pin.fingerprint256;
  if (cause.code === "CERT_HAS_EXPIRED") {
    const remedy = "Give the server a new one (inn up --tls-cert), or look at this machine's clock.";
    return new CliError(`the certificate of ${origin} expired on ${shown.server.validTo}`, { ...detail, remedy });
  }
  const known = trustPem === undefined ? undefined : new Certificate(trustPem).fingerprint256;
  if (cause.code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const names = (shown.server.subjectAltName ?? "").replaceAll(/DNS:|IP Address:/g, "");
    const remedy = `Use one of these names, or start the server with --tls-name ${server.hostname}.`;
    return new CliError(`the certificate of ${origin} is for other names: ${names}`, { ...detail, remedy });
  }
  if (known !== undefined) {
    const message = `the certificate of ${origin} has changed: it was SHA-256 ${known}, now it is ${now}. Nothing was sent`;
    const remedy = `Ask the server's administrator. If it is right: inn login ${origin} --fingerprint ${now}`;
    return new CliError(message, { ...detail, remedy });
  }
  return new CliError(`the certificate of ${origin} is not trusted: SHA-256 ${now}. Nothing was sent`, {
    ...detail,
    remedy: `Compare it with what \`inn up\` printed; then: inn login ${origin} (it asks), or --fingerprint, --ca-file.`,
  });
}
