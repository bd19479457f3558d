/**
 * The key of a backup file: from a password by argon2id, or, for backups that stay beside the state, from its key file.
 * The whole head of the file goes into the key (RFC 5869), so that nothing of the head can be changed unseen.
 */
import { argon2, type Argon2Parameters, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { type Static, Type } from "typebox";
import { AppError } from "#core/app-error.ts";
import type { SecretBox } from "#core/secret-box.ts";

const argon2Async = promisify(argon2) as (algorithm: "argon2id", parameters: Argon2Parameters) => Promise<Buffer>;

// RFC 9106 §4, the second recommended option: 64 MiB, 3 passes, 4 lanes, 128-bit salt.
const recommended = { memoryKiB: 65_536, passes: 3, parallelism: 4 } as const;
const saltBytes = 16;
const keyBytes = 32;
const checkBytes = 16;

/** How to come to the key, as it stands in the head. The bounds keep a head that anybody wrote from taking all memory. */
export const KeySource = Type.Union([
  Type.Object({
    kind: Type.Literal("password"),
    algorithm: Type.Literal("argon2id"),
    memoryKiB: Type.Integer({ minimum: 8, maximum: 1_048_576 }),
    passes: Type.Integer({ minimum: 1, maximum: 64 }),
    parallelism: Type.Integer({ minimum: 1, maximum: 16 }),
    salt: Type.String({ pattern: "^[A-Za-z0-9_-]{16,64}$" }),
  }),
  Type.Object({ kind: Type.Literal("state"), salt: Type.String({ pattern: "^[A-Za-z0-9_-]{16,64}$" }) }),
]);
export type KeySource = Static<typeof KeySource>;

/** What opens it, given by who makes or reads the backup. */
export type KeyMaterial =
  | { readonly kind: "password"; readonly password: string }
  | { readonly kind: "state"; readonly box: SecretBox };

interface BackupKey {
  readonly payload: Buffer;
  /** Tells a wrong password from a damaged file. */
  readonly check: string;
}

export function newKeySource(kind: KeyMaterial["kind"]): KeySource {
  const salt = randomBytes(saltBytes).toString("base64url");
  return kind === "state" ? { kind, salt } : { kind, algorithm: "argon2id", ...recommended, salt };
}

export async function backupKey(source: KeySource, material: KeyMaterial, head: string): Promise<BackupKey> {
  const root = await rootKey(source, material);
  const derive = (purpose: string, length: number): Buffer =>
    Buffer.from(hkdfSync("sha256", root, Buffer.from(head), `innkeeper backup: ${purpose}`, length));
  return { payload: derive("payload", keyBytes), check: derive("check", checkBytes).toString("base64url") };
}

export function isSameCheck(one: string, other: string): boolean {
  const [left, right] = [Buffer.from(one), Buffer.from(other)];
  return left.length === right.length && timingSafeEqual(left, right);
}

async function rootKey(source: KeySource, material: KeyMaterial): Promise<Buffer> {
  const salt = Buffer.from(source.salt, "base64url");
  if (source.kind === "state") {
    if (material.kind === "state") return material.box.fileKey(salt, "backup");
    throw new AppError("invalid_field", "This backup is opened by the key file of its state, not by a password.", {
      remedy: "Restore it into the state folder that it was made in, where secret.key is.",
    });
  }
  if (material.kind !== "password") {
    throw new AppError("invalid_field", "This backup is encrypted with a password.", {
      remedy: "Give it with --password-file.",
    });
  }
  return argon2Async("argon2id", {
    message: Buffer.from(material.password.normalize("NFKC")), // NIST SP 800-63B §5.1.1.2
    nonce: salt,
    memory: source.memoryKiB,
    passes: source.passes,
    parallelism: source.parallelism,
    tagLength: keyBytes,
  });
}
