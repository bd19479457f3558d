// OpenSSH's known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): plain, wildcard, negated and hashed names, [host]:port,
// @revoked. @cert-authority lines are left out: SSH certificates are not supported.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

export interface KnownHostKey {
  readonly type: string;
  readonly blob: Buffer;
  readonly isRevoked: boolean;
}

/** The keys that a known_hosts text has for a host. */
export function knownKeys(text: string, host: string, port: number): KnownHostKey[] {
  const keys: KnownHostKey[] = [];
  for (const line of text.split("\n")) {
    const words = line.trim().split(/\s+/u);
    const marker = words[0]?.startsWith("@") === true ? words.shift() : undefined;
    const [names, type, blob] = words;
    if (names === undefined || names.startsWith("#") || type === undefined || blob === undefined) continue;
    if (marker === "@cert-authority" || !isNamed(names, knownName(host, port))) continue;
    keys.push({ type, blob: Buffer.from(blob, "base64"), isRevoked: marker === "@revoked" });
  }
  return keys;
}

export function knownName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

export type HostKeyVerdict = "known" | "unknown" | "changed" | "revoked";

export function judgeHostKey(keys: readonly KnownHostKey[], offered: Buffer): HostKeyVerdict {
  const same = keys.filter((key) => key.blob.equals(offered));
  if (same.some((key) => key.isRevoked)) return "revoked";
  if (same.length > 0) return "known";
  return keys.some((key) => !key.isRevoked) ? "changed" : "unknown";
}

/** As ssh-keygen -l prints it. */
export function fingerprint(blob: Buffer): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/u, "")}`;
}

/** The key type is the blob's first string (RFC 4253 §6.6). */
export function keyType(blob: Buffer): string {
  const length = blob.byteLength >= 4 ? blob.readUInt32BE(0) : 0;
  return blob.toString("latin1", 4, Math.min(4 + length, blob.byteLength));
}

function isNamed(names: string, name: string): boolean {
  if (names.startsWith("|1|")) {
    const [, , salt, digest] = names.split("|");
    const wanted = Buffer.from(digest ?? "", "base64");
    const found = createHmac("sha1", Buffer.from(salt ?? "", "base64"))
      .update(name)
      .digest();
    return wanted.byteLength === found.byteLength && timingSafeEqual(wanted, found);
  }
  let isMatch = false;
  for (const pattern of names.toLowerCase().split(",")) {
    const isNegated = pattern.startsWith("!");
    if (!glob(isNegated ? pattern.slice(1) : pattern).test(name)) continue;
    if (isNegated) return false;
    isMatch = true;
  }
  return isMatch;
}

function glob(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/gu, String.raw`\$&`)
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "u");
}
