/**
 * Tells of failed logins, which anyone can cause: the first from an address at once, the others of the same minute
 * together when it is over. So many events a minute at most, whoever guesses from wherever; the log has each single one.
 */
import type { Clock } from "#core/clock.ts";
import { addressRange } from "#management/access/address-range.ts";

type TellFailedLogins = (message: string, userName?: string) => Promise<void>;

const minuteMs = 60_000;
/** Addresses that are told apart in one minute; those beyond are one. The store keeps 20,000 events (app/maintenance.ts). */
const rangesMax = 10;
const others = "other addresses";
const namesMax = 3;

interface Minute {
  count: number;
  readonly names: Set<string>;
}

export class FailedLogins implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #tell: TellFailedLogins;
  readonly #minutes = new Map<string, Minute>();
  readonly #ending = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(clock: Clock, tell: TellFailedLogins) {
    this.#clock = clock;
    this.#tell = tell;
  }

  async note(userName: string, address: string): Promise<void> {
    const range = addressRange(address);
    const key = this.#minutes.has(range) || this.#minutes.size < rangesMax ? range : others;
    const minute = this.#minutes.get(key);
    if (minute === undefined) {
      this.#begin(key);
      await this.#tell(`a login as ${userName} from ${address} failed`, userName);
      return;
    }
    minute.count++;
    // One more than are named tells that there are more.
    if (minute.names.size <= namesMax) minute.names.add(userName);
  }

  /** Tells what is still untold. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#ending);
  }

  #begin(key: string): void {
    this.#minutes.set(key, { count: 0, names: new Set() });
    const ending = this.#clock
      .sleep(minuteMs, this.#stop.signal)
      .catch(() => undefined)
      .then(() => this.#end(key));
    this.#ending.add(ending);
    void ending.then(() => this.#ending.delete(ending));
  }

  async #end(key: string): Promise<void> {
    const minute = this.#minutes.get(key);
    this.#minutes.delete(key);
    if (minute === undefined || minute.count === 0) return;
    const named = [...minute.names].slice(0, namesMax).join(", ");
    const who = minute.names.size > namesMax ? `${named} and others` : named;
    const logins = minute.count === 1 ? "1 more login" : `${minute.count} more logins`;
    await this.#tell(`${logins} from ${key} failed within a minute, as ${who}`);
  }
}
