// SCRAM (RFC 5802; with SHA-256 RFC 7677), the client's side: the password is never sent, and the server proves that it
// knows it, too. No channel binding: libvirtd gives its SASL library none, so it offers no -PLUS mechanism.
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { SaslError } from "./mechanism.ts";
import type { SaslMechanism } from "./mechanism.ts";

interface ScramHash {
  /** As node:crypto calls it. */
  readonly name: string;
  readonly size: number;
}

/** By mechanism, strongest first. SHA-512 is Cyrus SASL 2.1.28's, after draft-melnikov-scram-sha-512. */
export const scramHashes: ReadonlyMap<string, ScramHash> = new Map([
  ["SCRAM-SHA-512", { name: "sha512", size: 64 }],
  ["SCRAM-SHA-256", { name: "sha256", size: 32 }],
  ["SCRAM-SHA-1", { name: "sha1", size: 20 }],
]);

/** RFC 5802 §5.1 and RFC 7677 §4: servers announce at least 4096. */
const ITERATIONS_MIN = 4_096;
/** About a second of work; more is an attack on us. */
const ITERATIONS_MAX = 2_000_000;
/** "n": no channel binding; no other identity to act as (RFC 5802 §7, gs2-header). */
const GS2_HEADER = "n,,";
const NONCE_BYTES = 24;

const derive = promisify(pbkdf2);

export class ScramLogin implements SaslMechanism {
  readonly name: string;
  readonly #hash: ScramHash;
  readonly #password: string;
  readonly #nonce: string;
  readonly #firstBare: string;
  #state: "first" | "final" | "complete" = "first";
  #serverSignature: Buffer = Buffer.alloc(0);

  /** @param nonce for tests against the RFCs' examples. */
  constructor(
    mechanism: string,
    userName: string,
    password: string,
    nonce: string = randomBytes(NONCE_BYTES).toString("base64"),
  ) {
    const hash = scramHashes.get(mechanism);
    if (hash === undefined) throw new SaslError(`unknown mechanism ${mechanism}`);
    this.name = mechanism;
    this.#hash = hash;
    this.#password = password;
    this.#nonce = nonce;
    this.#firstBare = `n=${userName.replaceAll("=", "=3D").replaceAll(",", "=2C")},r=${nonce}`;
  }

  get isComplete(): boolean {
    return this.#state === "complete";
  }

  start(): Buffer {
    return Buffer.from(GS2_HEADER + this.#firstBare);
  }

  async step(challenge: Buffer): Promise<Buffer> {
    const message = challenge.toString("utf8");
    switch (this.#state) {
      case "first":
        return this.#answer(message);
      case "final":
        this.#verify(message);
        return Buffer.alloc(0);
      case "complete":
        throw new SaslError("the server goes on after the end of the login");
    }
  }

  async #answer(serverFirst: string): Promise<Buffer> {
    const { nonce, salt, iterations } = readServerFirst(serverFirst);
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length)
      throw new SaslError("the server's nonce does not extend ours");
    const withoutProof = `c=${Buffer.from(GS2_HEADER).toString("base64")},r=${nonce}`;
    const authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const { name, size } = this.#hash;
    const salted = await derive(this.#password, salt, iterations, size, name);
    const clientKey = this.#hmac(salted, "Client Key");
    const signature = this.#hmac(createHash(name).update(clientKey).digest(), authMessage);
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
    this.#serverSignature = this.#hmac(this.#hmac(salted, "Server Key"), authMessage);
    this.#state = "final";
    return Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString("base64")}`);
  }

  #verify(serverFinal: string): void {
    const [, kind, value = ""] = /^([ev])=([^,]*)/u.exec(serverFinal) ?? [];
    if (kind === "e") throw new SaslError(`the server refuses: ${value}`);
    const given = Buffer.from(value, "base64");
    const wanted = this.#serverSignature;
    if (kind !== "v" || given.byteLength !== wanted.byteLength || !timingSafeEqual(given, wanted))
      throw new SaslError("the server can't prove that it knows the password: it may be another one");
    this.#state = "complete";
  }

  #hmac(key: Buffer, text: string): Buffer {
    return createHmac(this.#hash.name, key).update(text).digest();
  }
}

function readServerFirst(message: string): { nonce: string; salt: Buffer; iterations: number } {
  // RFC 5802 §7 server-first-message; extensions may follow, mandatory ones ("m=") come first.
  const match = /^r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})(?:,|$)/u.exec(message);
  if (match === null) throw new SaslError("the server's first message is not SCRAM's");
  const [, nonce = "", salt = "", count = ""] = match;
  const iterations = Number(count);
  if (iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX)
    throw new SaslError(
      `the server asks for ${iterations} iterations, which is not within ${ITERATIONS_MIN} … ${ITERATIONS_MAX}`,
    );
  return { nonce, salt: Buffer.from(salt, "base64"), iterations };
}
