/**
 * Sessions and API tokens: random secrets of which only the SHA-256 is stored (256 bits of randomness need no slow
 * hash). Kept in memory as well, so that authentication reads no disk; every change goes to the store first.
 */
import { createHash, randomBytes } from "node:crypto";
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { CachedSpace, PrivateEntry, Store, StoreTransaction } from "#store/port.ts";

export interface Credential {
  readonly type: "session" | "token";
  readonly userId: string;
  /** Of a token. */
  readonly tokenId?: string;
  readonly expiresAtMs?: number;
  readonly usedAtMs?: number;
}

export const credentialSpace = "credential" satisfies CachedSpace;
/** Twelve hours after the last use. */
export const sessionMs = 12 * 3_600_000;
/** A use is noted at most this often: authentication is no write for every request. */
const usedMs = 5 * 60_000;
const prefix = { session: "inns_", token: "innt_" } as const;

function digest(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export class CredentialTable {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #byDigest = new Map<string, Credential>();
  readonly #endListeners = new Set<(digest: string) => void>();

  private constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  static async open(store: Store, clock: Clock): Promise<CredentialTable> {
    const table = new CredentialTable(store, clock);
    await store.transaction(async (transaction) => {
      table.#replace(await transaction.listPrivate(credentialSpace));
      // Inside the transaction: no change can fall between what was read and the subscription.
      store.onPrivateChange(credentialSpace, (entries) => table.#replace(entries));
    });
    return table;
  }

  /** A new secret, stored in the transaction. Call `keep` once that is committed. */
  async create(
    transaction: StoreTransaction,
    credential: Credential,
  ): Promise<{ readonly secret: string; keep(): void }> {
    const secret = prefix[credential.type] + randomBytes(32).toString("base64url");
    const key = digest(secret);
    await transaction.putPrivate(credentialSpace, key, credential);
    return { secret, keep: () => void this.#byDigest.set(key, credential) };
  }

  /** The credential of a secret, unless it is unknown or over; with its key for `onEnd` and `end`. */
  find(secret: string): { readonly key: string; readonly credential: Credential } | undefined {
    const key = digest(secret);
    const credential = this.#byDigest.get(key);
    return credential === undefined || this.#isOver(credential) ? undefined : { key, credential };
  }

  /** Whether the next `use` would be noted. */
  isUseDue(secret: string): boolean {
    const credential = this.find(secret)?.credential;
    return credential !== undefined && !isNoted(credential, this.#clock.now());
  }

  /** Whether it still holds: for streams that outlive the request. */
  holds(key: string): boolean {
    const credential = this.#byDigest.get(key);
    return credential !== undefined && !this.#isOver(credential);
  }

  /**
   * Notes a use: moves a session's end, and tells a token's owner when it was used last. Both not at every request, and
   * not while the store can't be written: a full disk keeps nobody from reading.
   */
  async use(key: string): Promise<void> {
    const credential = this.#byDigest.get(key);
    const now = this.#clock.now();
    if (credential === undefined || isNoted(credential, now)) return;
    const expires = credential.type === "session" ? { expiresAtMs: now + sessionMs } : {};
    const used = { ...credential, ...expires, usedAtMs: now };
    this.#byDigest.set(key, used);
    try {
      await this.#store.transaction(async (transaction) => {
        if (!this.#byDigest.has(key)) return;
        await transaction.putPrivate(credentialSpace, key, used);
        const token = used.tokenId === undefined ? undefined : await transaction.get("token", used.tokenId);
        if (token !== undefined) await transaction.put("token", { ...token, lastUsedAt: new Date(now).toISOString() });
      });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // As it is stored: noted at the next use.
      if (this.#byDigest.has(key)) this.#byDigest.set(key, credential);
    }
  }

  /** Ends those that match, in the transaction; call the result once that is committed. */
  async end(
    transaction: StoreTransaction,
    matches: (credential: Credential, key: string) => boolean,
  ): Promise<() => void> {
    const keys = [...this.#byDigest].flatMap(([key, credential]) => (matches(credential, key) ? [key] : []));
    for (const key of keys) await transaction.deletePrivate(credentialSpace, key);
    return () => {
      for (const key of keys) {
        this.#byDigest.delete(key);
        for (const listener of this.#endListeners) listener(key);
      }
    };
  }

  /** Forgets those that are over. A session that a clock ahead of this one has given a later end gets the end of now. */
  async prune(): Promise<void> {
    const latestMs = this.#clock.now() + sessionMs;
    const isLate = ({ type, expiresAtMs = 0 }: Credential): boolean => type === "session" && expiresAtMs > latestMs;
    const { late, forget } = await this.#store.transaction(async (transaction) => {
      const late = new Map([...this.#byDigest].filter(([, credential]) => isLate(credential)));
      for (const [key, credential] of late) {
        late.set(key, { ...credential, expiresAtMs: latestMs });
        await transaction.putPrivate(credentialSpace, key, late.get(key));
      }
      return { late, forget: await this.end(transaction, (credential) => this.#isOver(credential)) };
    });
    for (const [key, credential] of late) if (this.#byDigest.has(key)) this.#byDigest.set(key, credential);
    forget();
  }

  /** Called with the key of each credential that is ended. Returns how to stop. */
  onEnd(listener: (key: string) => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  /** By what another process has stored. */
  #replace(entries: readonly PrivateEntry[]): void {
    const gone = new Set(this.#byDigest.keys());
    for (const { key, value } of entries) {
      this.#byDigest.set(key, value as Credential);
      gone.delete(key);
    }
    for (const key of gone) {
      this.#byDigest.delete(key);
      for (const listener of this.#endListeners) listener(key);
    }
  }

  #isOver(credential: Credential): boolean {
    return credential.expiresAtMs !== undefined && credential.expiresAtMs <= this.#clock.now();
  }
}

/** Not if it was noted by a clock that was ahead of this one. */
function isNoted({ usedAtMs = 0 }: Credential, nowMs: number): boolean {
  return usedAtMs <= nowMs && nowMs - usedAtMs < usedMs;
}
