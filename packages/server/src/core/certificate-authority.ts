/**
 * The built-in certificate authority: issues the certificates with which Innkeeper, its users and libvirt hosts trust
 * one another. Invariants: the private key lies in one file of mode 0600 that appears whole or not at all, together
 * with the certificate that belongs to it; two processes that open an empty folder at once end with the same authority;
 * nothing issued outlives the authority. See docs/decisions/0002-built-in-ca-peculiar-x509.md.
 */
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { createFile, readFileIfPresent, replaceFile } from "#core/durable-file.ts";
import {
  authorityExtensions,
  CertificateRequestError,
  checkCommonName,
  endEntityExtensions,
  generateKeyPair,
  privateKeyPem,
  signCertificate,
  type CertificateIssuer,
  type CertificatePurpose,
} from "#core/x509-certificate.ts";

/** A fresh private key with its certificate, both PEM. The key is PKCS#8 and exists nowhere else. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Upper-case hex, as node:crypto and openssl print it. */
  readonly serialNumber: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

interface CertificateRequest {
  /** Subject CN; for a client the identity that libvirt's tls_allowed_dn_list sees as "CN=…". */
  readonly commonName: string;
  readonly purposes: readonly CertificatePurpose[];
  /** Each becomes a DNS subject alternative name. International names are converted to ASCII. */
  readonly dnsNames?: readonly string[];
  /** IPv4 or IPv6 addresses; each becomes an IP subject alternative name. */
  readonly addresses?: readonly string[];
  readonly validDays?: number;
}

interface AuthorityOptions {
  /** Used when a new authority is made. */
  readonly commonName?: string;
  readonly validDays?: number;
  readonly now?: () => Date;
}

/** The stored authority can't be used, or is no longer valid. The message names the file and the cause. */
export class CertificateAuthorityError extends Error {
  override readonly name = "CertificateAuthorityError";
}

const authorityFileName = "authority.pem";
const certificateFileName = "ca-cert.pem";
const dayMs = 86_400_000;
const defaultAuthorityDays = 20 * 365;
const defaultCertificateDays = 3 * 365;
/** Everything is valid from a day ago: for hosts whose clocks are behind, and for ourselves when ours is set right. */
const clockSkewMs = 86_400_000;

export class CertificateAuthority {
  /** PEM of the authority's own certificate: what peers must trust. */
  readonly certificatePem: string;
  readonly notAfter: Date;
  readonly #issuer: CertificateIssuer;
  readonly #now: () => Date;

  /** `pem` holds the private key and the certificate; throws if they are not a pair, or no authority's. */
  constructor(pem: string, now: () => Date = () => new Date()) {
    const privateKey = createPrivateKey(pem);
    const certificate = new X509Certificate(certificatePart(pem));
    const commonName = /^CN=(.*)$/mu.exec(certificate.subject)?.[1];
    if (commonName === undefined) throw new Error("its certificate has no common name");
    if (!certificate.ca) throw new Error("its certificate is not an authority's");
    if (!certificate.checkPrivateKey(privateKey)) throw new Error("its key and its certificate are no pair");
    this.certificatePem = certificate.toString();
    this.notAfter = certificate.validToDate;
    this.#issuer = { commonName, privateKey, publicKey: createPublicKey(privateKey) };
    this.#now = now;
  }

  /**
   * Opens the authority kept in `folder`; makes folder and authority where there is none. The certificate lies beside
   * the private file as ca-cert.pem, for programs that want a path.
   */
  static async open(folder: string, options: AuthorityOptions = {}): Promise<CertificateAuthority> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = CertificateAuthority.file(folder);
    let pem = await readFileIfPresent(file);
    if (pem === undefined) {
      const created = newAuthorityPem(options);
      pem = (await createFile(file, created, 0o600)) ? created : await readFileIfPresent(file);
    }
    const authority = parse(pem ?? "", file, options);
    const certificateFile = CertificateAuthority.certificateFile(folder);
    if ((await readFileIfPresent(certificateFile)) !== authority.certificatePem) {
      await replaceFile(certificateFile, authority.certificatePem, 0o644);
    }
    return authority;
  }

  /** Where `open` keeps key and certificate. */
  static file(folder: string): string {
    return path.join(folder, authorityFileName);
  }

  /** Where `open` keeps the authority's certificate. */
  static certificateFile(folder: string): string {
    return path.join(folder, certificateFileName);
  }

  /** A new authority that is kept nowhere but in memory. */
  static ephemeral(options: AuthorityOptions = {}): CertificateAuthority {
    return new CertificateAuthority(newAuthorityPem(options), options.now);
  }

  /** A new key and its certificate. Throws CertificateRequestError for a request that no certificate fits. */
  issue(request: CertificateRequest): IssuedCertificate {
    checkRequest(request);
    const now = this.#now();
    if (now >= this.notAfter) {
      throw new CertificateAuthorityError(
        `the built-in certificate authority expired on ${this.notAfter.toISOString()}; nothing new can be trusted`,
      );
    }
    const wantedMs = now.getTime() + (request.validDays ?? defaultCertificateDays) * dayMs;
    const { privateKey, publicKey } = generateKeyPair();
    const certificate = signCertificate(
      {
        commonName: request.commonName,
        publicKey,
        extensions: endEntityExtensions(request.purposes, request.dnsNames ?? [], request.addresses ?? []),
        notBefore: new Date(now.getTime() - clockSkewMs),
        notAfter: new Date(Math.min(wantedMs, this.notAfter.getTime())),
      },
      this.#issuer,
    );
    return {
      certificatePem: certificate.toString(),
      keyPem: privateKeyPem(privateKey),
      serialNumber: certificate.serialNumber,
      notBefore: certificate.validFromDate,
      notAfter: certificate.validToDate,
    };
  }
}

function checkRequest(request: CertificateRequest): void {
  checkCommonName(request.commonName);
  if (request.purposes.length === 0) throw new CertificateRequestError("a certificate needs at least one purpose");
  const nameCount = (request.dnsNames ?? []).length + (request.addresses ?? []).length;
  if (request.purposes.includes("server") && nameCount === 0) {
    throw new CertificateRequestError("a server certificate needs at least one host name or address");
  }
  const days = request.validDays ?? defaultCertificateDays;
  if (!Number.isFinite(days) || days <= 0) throw new CertificateRequestError(`validDays must be positive, not ${days}`);
}

/** The private key, then the certificate: the content of the authority's file. */
function newAuthorityPem(options: AuthorityOptions): string {
  const commonName = options.commonName ?? "Innkeeper certificate authority";
  checkCommonName(commonName);
  const now = (options.now?.() ?? new Date()).getTime();
  const pair = generateKeyPair();
  const certificate = signCertificate(
    {
      commonName,
      publicKey: pair.publicKey,
      extensions: authorityExtensions(),
      notBefore: new Date(now - clockSkewMs),
      notAfter: new Date(now + (options.validDays ?? defaultAuthorityDays) * dayMs),
    },
    { ...pair, commonName },
  );
  return privateKeyPem(pair.privateKey) + certificate.toString();
}

function certificatePart(pem: string): string {
  const start = pem.indexOf("-----BEGIN CERTIFICATE-----");
  if (start === -1) throw new Error("it holds no certificate");
  return pem.slice(start);
}

function parse(pem: string, file: string, options: AuthorityOptions): CertificateAuthority {
  try {
    return new CertificateAuthority(pem, options.now);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new CertificateAuthorityError(`the certificate authority in ${file} can't be used: ${cause}`, {
      cause: error,
    });
  }
}
