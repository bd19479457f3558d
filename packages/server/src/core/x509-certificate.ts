/**
 * X.509 version 3 certificates with ECDSA P-256 keys, written and signed (RFC 5280). Pure: no file, no state. The ASN.1
 * structures are @peculiar/asn1-x509's, all cryptography is node:crypto's. What libvirt and QEMU look at in a
 * certificate: libvirt 9.0 src/rpc/virnettlscontext.c, QEMU 7.2 crypto/tlscredsx509.c.
 */
import { generateKeyPairSync, hash, randomBytes, sign, X509Certificate, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import * as asn1 from "@peculiar/asn1-x509";

/** What a certificate may be used for: to be a server, to be a client, or (a libvirt host that migrates) both. */
export type CertificatePurpose = "server" | "client";

/** A name, address or validity that no certificate can be issued for. The message names it. */
export class CertificateRequestError extends Error {
  override readonly name = "CertificateRequestError";
}

interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface CertificateIssuer extends KeyPair {
  readonly commonName: string;
}

interface CertificateSubject {
  readonly commonName: string;
  readonly publicKey: KeyObject;
  readonly extensions: readonly asn1.Extension[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

// RFC 5480 §2.1.1, RFC 5758 §3.2, RFC 5280 appendix A.1 (ub-common-name)
const curve = "prime256v1";
const oidEcdsaWithSha256 = "1.2.840.10045.4.3.2";
const oidCommonName = "2.5.4.3";
const maxCommonNameLength = 64;
const purposeOids: Readonly<Record<CertificatePurpose, string>> = {
  server: asn1.id_kp_serverAuth,
  client: asn1.id_kp_clientAuth,
};

export function generateKeyPair(): KeyPair {
  return generateKeyPairSync("ec", { namedCurve: curve });
}

export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

export function checkCommonName(commonName: string): void {
  const length = [...commonName].length;
  if (length === 0 || length > maxCommonNameLength) {
    throw new CertificateRequestError(`a common name has 1 to ${maxCommonNameLength} characters, not ${length}`);
  }
  if (/\p{Cc}/u.test(commonName)) throw new CertificateRequestError("a common name has no control characters");
}

/** An authority that signs end-entity certificates only, no further authorities. */
export function authorityExtensions(): asn1.Extension[] {
  const usage = new asn1.KeyUsage(asn1.KeyUsageFlags.keyCertSign | asn1.KeyUsageFlags.cRLSign);
  return [
    extension(asn1.id_ce_basicConstraints, true, new asn1.BasicConstraints({ cA: true, pathLenConstraint: 0 })),
    extension(asn1.id_ce_keyUsage, true, usage),
  ];
}

/**
 * There is no key usage extension: RFC 5480 §3 denies EC keys keyEncipherment, and libvirt and QEMU miss it wherever
 * the extension is present. The extended key usage says what the certificate is for.
 */
export function endEntityExtensions(
  purposes: readonly CertificatePurpose[],
  dnsNames: readonly string[],
  addresses: readonly string[],
): asn1.Extension[] {
  const purposeList = new asn1.ExtendedKeyUsage(purposes.map((purpose) => purposeOids[purpose]));
  const names = [...dnsNames.map(dnsName), ...addresses.map(ipAddress)];
  const extensions = [
    extension(asn1.id_ce_basicConstraints, true, new asn1.BasicConstraints({ cA: false })),
    extension(asn1.id_ce_extKeyUsage, false, purposeList),
  ];
  if (names.length > 0) {
    extensions.push(extension(asn1.id_ce_subjectAltName, false, new asn1.SubjectAlternativeName(names)));
  }
  return extensions;
}

export function signCertificate(subject: CertificateSubject, issuer: CertificateIssuer): X509Certificate {
  const algorithm = new asn1.AlgorithmIdentifier({ algorithm: oidEcdsaWithSha256 });
  const subjectKeyId = new asn1.SubjectKeyIdentifier(keyIdentifier(subject.publicKey));
  const issuerKeyId = new asn1.KeyIdentifier(keyIdentifier(issuer.publicKey));
  const body = new asn1.TBSCertificate({
    version: asn1.Version.v3,
    serialNumber: serialNumber(),
    signature: algorithm,
    issuer: distinguishedName(issuer.commonName),
    validity: new asn1.Validity({
      notBefore: wholeSeconds(subject.notBefore),
      notAfter: wholeSeconds(subject.notAfter),
    }),
    subject: distinguishedName(subject.commonName),
    subjectPublicKeyInfo: publicKeyInfo(subject.publicKey),
    extensions: new asn1.Extensions([
      ...subject.extensions,
      extension(asn1.id_ce_subjectKeyIdentifier, false, subjectKeyId),
      extension(
        asn1.id_ce_authorityKeyIdentifier,
        false,
        new asn1.AuthorityKeyIdentifier({ keyIdentifier: issuerKeyId }),
      ),
    ]),
  });
  const certificate = new asn1.Certificate({
    tbsCertificate: body,
    signatureAlgorithm: algorithm,
    signatureValue: arrayBuffer(sign("sha256", Buffer.from(AsnConvert.serialize(body)), issuer.privateKey)),
  });
  return new X509Certificate(Buffer.from(AsnConvert.serialize(certificate)));
}

function extension(extnID: string, critical: boolean, value: object): asn1.Extension {
  return new asn1.Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function distinguishedName(commonName: string): asn1.Name {
  const value = new asn1.AttributeValue({ utf8String: commonName });
  const attribute = new asn1.AttributeTypeAndValue({ type: oidCommonName, value });
  return new asn1.Name([new asn1.RelativeDistinguishedName([attribute])]);
}

function dnsName(name: string): asn1.GeneralName {
  const ascii = asciiHostName(name);
  if (ascii === undefined) throw new CertificateRequestError(`"${name}" is not a host name`);
  return new asn1.GeneralName({ dNSName: ascii });
}

/** Whether a certificate can be issued for it as a DNS name. */
export function isHostName(name: string): boolean {
  return asciiHostName(name) !== undefined;
}

function asciiHostName(name: string): string | undefined {
  const wildcard = name.startsWith("*.") ? "*." : "";
  const ascii = domainToASCII(name.slice(wildcard.length));
  // RFC 1123 §2.1, with the underscore that real host names have. An address written here would never be matched.
  const label = "(?!-)[a-z0-9_-]{1,63}(?<!-)";
  const valid = new RegExp(`^${label}(?:\\.${label})*$`, "u").test(ascii) && ascii.length <= 253;
  return valid && isIP(ascii) === 0 ? wildcard + ascii : undefined;
}

function ipAddress(address: string): asn1.GeneralName {
  if (isIP(address) === 0 || address.includes("%")) {
    throw new CertificateRequestError(`"${address}" is not an IP address`);
  }
  return new asn1.GeneralName({ iPAddress: address });
}

/** 126 random bits below a leading 01, so that it is positive and of constant length (RFC 5280 §4.1.2.2). */
function serialNumber(): ArrayBuffer {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0);
  return arrayBuffer(bytes);
}

/** The leading 160 bits of the public key's SHA-256 (RFC 7093 §2 method 1). */
function keyIdentifier(key: KeyObject): ArrayBuffer {
  const bits = Buffer.from(publicKeyInfo(key).subjectPublicKey);
  return arrayBuffer(hash("sha256", bits, "buffer").subarray(0, 20));
}

function publicKeyInfo(key: KeyObject): asn1.SubjectPublicKeyInfo {
  return AsnConvert.parse(key.export({ type: "spki", format: "der" }), asn1.SubjectPublicKeyInfo);
}

/** Certificates count in seconds: RFC 5280 §4.1.2.5.2 allows no fractions. */
function wholeSeconds(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
