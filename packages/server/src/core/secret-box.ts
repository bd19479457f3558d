/**
 * Encrypts what must be kept but never be readable from the store alone: credentials of hosts, inputs of tasks.
 * AES-256-GCM with a random 96-bit nonce for each message (NIST SP 800-38D §8.2.2); the key is a file of mode 0600 beside
 * the store. Each secret is bound to its context, so that one can't be put in another's place.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { chmod } from "node:fs/promises";
import { AppError } from "#core/app-error.ts";
import { createFile, readFileIfPresent } from "#core/durable-file.ts";

const algorithm = "aes-256-gcm";
const keyLength = 32;
const nonceLength = 12;
const tagLength = 16;
const version = "v1.";

/** What to do about a key file that is gone, damaged, or another's. */
export const keyRemedy =
  "Put back the secret.key that was kept with this store, or restore both from a backup with `inn restore FILE`. Without either, `inn recover` keeps everything else and needs the hosts' keys and passwords anew.";

export class SecretBox {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    if (key.length !== keyLength) throw new Error(`the key must have ${keyLength} bytes, not ${key.length}`);
    this.#key = key;
  }

  /** Text for the store. `context` says what it belongs to, e.g. `host:host-…`; the same is needed to open it. */
  seal(plaintext: string, context: string): string {
    const nonce = randomBytes(nonceLength);
    const cipher = createCipheriv(algorithm, this.#key, nonce);
    cipher.setAAD(Buffer.from(context));
    const encrypted = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final()]);
    return version + Buffer.concat([nonce, cipher.getAuthTag(), encrypted]).toString("base64url");
  }

  /**
   * Tells whether two texts are the same without keeping them: HMAC-SHA-256 under a key of its own, derived by HKDF
   * (RFC 5869), so that what it was made of can't be guessed from the store alone. `context` says what it is for.
   */
  fingerprint(plaintext: string, context: string): string {
    const key = hkdfSync("sha256", this.#key, "", `fingerprint:${context}`, keyLength);
    return createHmac("sha256", Buffer.from(key)).update(plaintext, "utf8").digest("hex");
  }

  /** A key of its own for a file that this box's key file opens again; `salt` makes it that file's alone (RFC 5869). */
  fileKey(salt: Uint8Array, purpose: string): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#key, salt, `file:${purpose}`, keyLength));
  }

  /** store_unavailable if it was sealed with another key, for another context, or was changed. */
  open(sealed: string, context: string): string {
    try {
      if (!sealed.startsWith(version)) throw new Error("unknown version");
      const bytes = Buffer.from(sealed.slice(version.length), "base64url");
      const decipher = createDecipheriv(algorithm, this.#key, bytes.subarray(0, nonceLength), {
        authTagLength: tagLength,
      });
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(bytes.subarray(nonceLength, nonceLength + tagLength));
      return decipher.update(bytes.subarray(nonceLength + tagLength), undefined, "utf8") + decipher.final("utf8");
    } catch (error) {
      throw new AppError("store_unavailable", `The secret of ${context} can't be decrypted.`, {
        remedy: `The key file does not belong to this store: ${keyRemedy}`,
        cause: error,
      });
    }
  }
}

/** Opens the box of a key file, making the file if there is none. */
export async function openSecretBox(keyFile: string): Promise<SecretBox> {
  const present = await readSecretBox(keyFile);
  if (present !== undefined) return present;
  const key = randomBytes(keyLength);
  if (await createFile(keyFile, `${key.toString("base64url")}\n`, 0o600)) return new SecretBox(key);
  return openSecretBox(keyFile);
}

/** The box of a key file; undefined if there is no such file. */
export async function readSecretBox(keyFile: string): Promise<SecretBox | undefined> {
  const text = await readFileIfPresent(keyFile);
  if (text === undefined) return undefined;
  await chmod(keyFile, 0o600);
  const key = Buffer.from(text.trim(), "base64url");
  if (key.length === keyLength) return new SecretBox(key);
  throw new AppError("store_unavailable", `The key file ${keyFile} is damaged: it does not hold ${keyLength} bytes.`, {
    remedy: keyRemedy,
    retryable: false,
  });
}
