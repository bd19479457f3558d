/**
 * Slows guessing of passwords down: after a few failures for a user from an address, for an address, or for a user from
 * anywhere, the next try must wait, twice as long after each failure. In memory and bounded. Nobody is locked out by
 * guessers elsewhere: from where a user has logged in before, and on the machine itself, only his own failures there count.
 */
import type { Clock } from "#core/clock.ts";
import { AppError } from "#core/app-error.ts";
import { addressRange } from "#management/access/address-range.ts";

interface Limit {
  /** Failures that cost nothing. */
  readonly free: number;
  readonly maxWaitMs: number;
}

const pairLimit: Limit = { free: 5, maxWaitMs: 15 * 60_000 };
const addressLimit: Limit = { free: 20, maxWaitMs: 15 * 60_000 };
/** Generous and short, for it can be reached by others. Not for places that the user is known from. */
const userLimit: Limit = { free: 50, maxWaitMs: 60_000 };
const firstWaitMs = 1000;
const forgetMs = 30 * 60_000;
const entriesMax = 20_000;
const knownMax = 5000;
const knownMs = 30 * 86_400_000;

interface Entry {
  failures: number;
  lastMs: number;
}

export class LoginLimit {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #entries = new Map<string, Entry>();
  /** Pairs of user and address that have logged in, by when. */
  readonly #known = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Throws too_many_attempts, with the seconds to wait, or counts an attempt as failed until `succeeded` says otherwise. */
  attempt(user: string, address: string): { succeeded(): void } {
    const now = this.#clock.monotonicMs();
    const keys = this.#keysOf(user, address, now);
    const waitMs = Math.max(...keys.map(({ key, limit }) => this.#waitMs(key, limit, now)));
    if (waitMs > 0) {
      const seconds = Math.ceil(waitMs / 1000);
      throw new AppError("too_many_attempts", `Too many failed logins; try again in ${seconds} s.`, {
        fault: { retryAfterSeconds: seconds },
      });
    }
    for (const { key } of keys) this.#count(key, now);
    return {
      succeeded: () => {
        const [pair, ...others] = keys;
        if (pair !== undefined) {
          this.#entries.delete(pair.key);
          this.#remember(pair.key, now);
        }
        for (const { key } of others) this.#uncount(key);
      },
    };
  }

  #keysOf(user: string, address: string, now: number): { key: string; limit: Limit }[] {
    const range = addressRange(address);
    const pair = JSON.stringify([user, range]);
    const seenMs = this.#known.get(pair);
    const isKnown = isLoopback(address) || (seenMs !== undefined && now - seenMs < knownMs);
    return [
      { key: pair, limit: pairLimit },
      { key: `address ${range}`, limit: addressLimit },
      ...(isKnown ? [] : [{ key: `user ${user}`, limit: userLimit }]),
    ];
  }

  #remember(pair: string, now: number): void {
    this.#known.delete(pair);
    this.#known.set(pair, now);
    const [oldest] = this.#known.keys();
    if (this.#known.size > knownMax && oldest !== undefined) this.#known.delete(oldest);
  }

  #waitMs(key: string, limit: Limit, now: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined || now - entry.lastMs > forgetMs || entry.failures < limit.free) return 0;
    const waitMs = Math.min(limit.maxWaitMs, firstWaitMs * 2 ** Math.min(30, entry.failures - limit.free));
    return entry.lastMs + waitMs - now;
  }

  #count(key: string, now: number): void {
    const entry = this.#entries.get(key);
    const failures = entry === undefined || now - entry.lastMs > forgetMs ? 1 : entry.failures + 1;
    this.#entries.delete(key);
    this.#entries.set(key, { failures, lastMs: now });
    if (this.#entries.size <= entriesMax) return;
    // The first is the one that was counted longest ago.
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  #uncount(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (entry.failures <= 1) this.#entries.delete(key);
    else entry.failures--;
  }
}

/** RFC 1122 §3.2.1.3, RFC 4291 §2.5.3. Whoever is there has the machine. */
function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}
