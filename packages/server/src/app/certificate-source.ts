/** Where the API's certificate comes from: two files of the administrator's, or the built-in authority, which issues it. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import path from "node:path";
import { CertificateAuthority } from "#core/certificate-authority.ts";
import { readFileIfPresent, replaceFile } from "#core/durable-file.ts";
import { isHostName } from "#core/x509-certificate.ts";
import { ConfigError } from "./config.ts";

/** All PEM. `cert`: the chain, the API's own certificate first. `trustPem`: the certificate that clients may pin. */
export interface ServedCertificate {
  readonly key: string;
  readonly cert: string;
  readonly trustPem: string;
}

export interface CertificateSource {
  /** Throws when there is none that can be used. */
  read(nowMs: number): Promise<ServedCertificate>;
  /** Whether reading anew could give another one. A change that can't be used is told of once. */
  hasChanged(present: ServedCertificate, nowMs: number): Promise<boolean>;
}

export function fileCertificate(certFile: string, keyFile: string): CertificateSource {
  let seen = "";
  const look = async (): Promise<string> =>
    `${await stateOf("--tls-cert", certFile)} ${await stateOf("--tls-key", keyFile)}`;
  return {
    async read() {
      seen = await look();
      const cert = await readFile(certFile, "utf8");
      const key = await readFile(keyFile, "utf8");
      return { cert, key, trustPem: checkPair(cert, key, certFile, keyFile) };
    },
    hasChanged: async () => (await look()) !== seen,
  };
}

async function stateOf(flag: string, file: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(file);
    return [ino, size, mtimeMs].join(":");
  } catch (error) {
    throw new ConfigError(`${flag} ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The API's own certificate, the first of the chain. */
function checkPair(cert: string, key: string, certFile: string, keyFile: string): string {
  const certificate = parsed(() => new X509Certificate(cert));
  if (certificate === undefined) throw new ConfigError(`--tls-cert ${certFile}: it holds no PEM certificate`);
  const privateKey = parsed<KeyObject>(() => createPrivateKey(key));
  if (privateKey === undefined) {
    throw new ConfigError(`--tls-key ${keyFile}: it holds no PEM private key, or one with a passphrase`);
  }
  if (certificate.checkPrivateKey(privateKey)) return certificate.toString();
  throw new ConfigError(`--tls-key ${keyFile}: it is not the key of the certificate in ${certFile}`);
}

function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** 398 days are the most that browsers accept (CA/Browser Forum Baseline Requirements §6.3.2). */
const validDays = 397;
const renewMs = 60 * 86_400_000;

interface BuiltInNames {
  readonly stateFolder: string;
  readonly listenAddress: string;
  /** Further ones by which clients reach this machine. */
  readonly names: readonly string[];
}

/** `<state>/tls/server.pem` holds its key, then the certificate, then the authority's; mode 0600. */
export function builtInCertificate(options: BuiltInNames): CertificateSource {
  const folder = path.join(options.stateFolder, "tls");
  const file = path.join(folder, "server.pem");
  const open = (): Promise<CertificateAuthority> => CertificateAuthority.open(path.join(options.stateFolder, "ca"));
  return {
    async read(nowMs) {
      const authority = await open();
      const names = namesOf(options);
      const stored = split(await readFileIfPresent(file), authority);
      if (stored !== undefined && isGood(stored, authority, names, nowMs)) return stored;
      const issued = authority.issue({
        commonName: "Innkeeper API",
        purposes: ["server"],
        dnsNames: names.filter((name) => isIP(name) === 0),
        addresses: names.filter((name) => isIP(name) !== 0),
        validDays,
      });
      // The authority's own certificate goes with it, so that who trusts nothing yet can be shown what to trust.
      const cert = issued.certificatePem + authority.certificatePem;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await replaceFile(file, issued.keyPem + cert, 0o600);
      return { key: issued.keyPem, cert, trustPem: authority.certificatePem };
    },
    hasChanged: async (present, nowMs) => !isGood(present, await open(), namesOf(options), nowMs),
  };
}

function split(pem: string | undefined, authority: CertificateAuthority): ServedCertificate | undefined {
  const start = pem?.indexOf("-----BEGIN CERTIFICATE-----") ?? -1;
  if (pem === undefined || start <= 0) return undefined;
  return { key: pem.slice(0, start), cert: pem.slice(start), trustPem: authority.certificatePem };
}

/** Of this authority, for all names, and with time left. */
function isGood(
  { cert, key }: ServedCertificate,
  authority: CertificateAuthority,
  names: readonly string[],
  nowMs: number,
): boolean {
  const certificate = parsed(() => new X509Certificate(cert));
  const privateKey = parsed<KeyObject>(() => createPrivateKey(key));
  if (certificate === undefined || privateKey === undefined) return false;
  const issuer = new X509Certificate(authority.certificatePem);
  const endsMs = certificate.validToDate.getTime();
  const isIssued = certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  // Nothing that is issued outlives the authority: near its end renewing gains nothing.
  const hasTime = endsMs - nowMs > renewMs || endsMs === authority.notAfter.getTime();
  const isNamed = names.every((name) =>
    isIP(name) === 0 ? certificate.checkHost(name) !== undefined : certificate.checkIP(name) !== undefined,
  );
  return isIssued && hasTime && isNamed && certificate.checkPrivateKey(privateKey);
}

/** By which the API is reached: this machine's names, loopback, the addresses that are listened on, and those that are given. */
function namesOf({ listenAddress, names: given }: BuiltInNames): string[] {
  const own = hostname().toLowerCase();
  const everywhere = listenAddress === "0.0.0.0" || listenAddress === "::";
  const addresses = everywhere ? machineAddresses() : [listenAddress];
  const names = ["localhost", own, own.split(".", 1)[0] ?? own, "127.0.0.1", "::1", ...addresses, ...given];
  return [...new Set(names)].filter((name) => isIP(name) !== 0 || isHostName(name));
}

/** Those that others can use: neither loopback nor link-local, which need a zone. */
function machineAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, scopeid }) => !internal && (scopeid === undefined || scopeid === 0))
    .map(({ address }) => address);
}
