/**
 * Password hashes: argon2id in the PHC string format. Parameters are OWASP's first choice for argon2id (Password Storage
 * Cheat Sheet: m=19 MiB, t=2, p=1); they are stored with each hash, so they can be raised later. At most a few run at
 * once, which bounds the memory that logins can take.
 */
import { argon2, type Argon2Parameters, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { AppError } from "#core/app-error.ts";

const argon2Async = promisify(argon2) as (algorithm: "argon2id", parameters: Argon2Parameters) => Promise<Buffer>;

const memoryKiB = 19_456;
const passes = 2;
const parallelism = 1;
const saltBytes = 16; // RFC 9106 §3.1 recommends 128 bits
const hashBytes = 32;

const concurrentMax = 2;
const waitingMax = 32;
let running = 0;
const waiting: (() => void)[] = [];

async function limited<T>(work: () => Promise<T>): Promise<T> {
  if (running >= concurrentMax) {
    if (waiting.length >= waitingMax) {
      throw new AppError("too_many_attempts", "Too many logins at once.", { fault: { retryAfterSeconds: 2 } });
    }
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
  running++;
  try {
    return await work();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

function derive(password: string, salt: Buffer, parameters: { m: number; t: number; p: number }): Promise<Buffer> {
  return limited(() =>
    argon2Async("argon2id", {
      message: Buffer.from(password.normalize("NFKC")), // NIST SP 800-63B §5.1.1.2
      nonce: salt,
      memory: parameters.m,
      passes: parameters.t,
      parallelism: parameters.p,
      tagLength: hashBytes,
    }),
  );
}

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(saltBytes);
  const hash = await derive(password, salt, { m: memoryKiB, t: passes, p: parallelism });
  return `$argon2id$v=19$m=${memoryKiB},t=${passes},p=${parallelism}$${base64(salt)}$${base64(hash)}`;
}

const phcPattern = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;
/** Of no password: what a login of an unknown user is compared with, so that it takes the same time. */
const nobody = `$argon2id$v=19$m=${memoryKiB},t=${passes},p=${parallelism}$${base64(Buffer.alloc(saltBytes))}$${base64(Buffer.alloc(hashBytes))}`;

/** Takes the same time whether there is such a hash or not. */
export async function verifyPassword(password: string, hash: string | undefined): Promise<boolean> {
  const [, m, t, p, salt = "", expected = ""] = phcPattern.exec(hash ?? nobody) ?? [];
  if (m === undefined) throw new AppError("internal", "a stored password hash can't be read");
  const actual = await derive(password, Buffer.from(salt, "base64"), { m: Number(m), t: Number(t), p: Number(p) });
  const wanted = Buffer.from(expected, "base64");
  return wanted.length === actual.length && timingSafeEqual(wanted, actual) && hash !== undefined;
}

/** 20 characters of 31 that are not mistaken for one another: 99 bits. */
export function randomPassword(): string {
  const alphabet = "abcdefghjkmnpqrstuvwxyz23456789";
  const limit = 256 - (256 % alphabet.length); // bytes above would favour the first letters
  let password = "";
  while (password.length < 20) {
    for (const byte of randomBytes(32)) {
      if (byte < limit && password.length < 20) password += alphabet.charAt(byte % alphabet.length);
    }
  }
  return password.replace(/(.{5})(?=.)/g, "$1-");
}

/** Without padding, as the PHC string format has it. */
function base64(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}
