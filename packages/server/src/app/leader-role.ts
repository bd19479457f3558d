/**
 * Keeps a plane that runs while, and only while, this process leads: started when it comes to lead; when it does so no more
 * its tasks are let go at once, before anything else of it is ended, and an idle one comes in its place. A process that is
 * alone on its store leads from its start to its end.
 */
import { AppError } from "#core/app-error.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { SecretBox } from "#core/secret-box.ts";
import { nobodyLeads } from "#rest/pass-on.ts";
import type { Leading } from "#rest/service.ts";
import type { Leadership, Store } from "#store/port.ts";
import type { Plane } from "./plane.ts";

export interface LeaderRoleDeps {
  /** Absent: this process is alone. */
  readonly leadership: Leadership | undefined;
  readonly store: Store;
  readonly takeoverMs: number;
  readonly makePlane: () => Plane;
  readonly secretBox: SecretBox;
  readonly clock: Clock;
  readonly log: Logger;
}

const startRetryMs = 1000;
const lookMs = 100;

export class LeaderRole implements Leading, AsyncDisposable {
  readonly patienceMs: number;
  readonly #deps: LeaderRoleDeps;
  readonly #stop = new AbortController();
  #plane: Plane;
  /** Of the plane that runs. Of a process that is alone: 0. */
  #term: number | undefined;
  /** Of the plane that runs or is being started. */
  #begunTerm: number | undefined;
  #adjusting: Promise<void> = Promise.resolve();
  #stopListening: () => void = () => undefined;

  constructor(deps: LeaderRoleDeps) {
    this.#deps = deps;
    // Until it is clear that a leader is gone, and then until another is there.
    this.patienceMs = 2 * deps.takeoverMs + 2000;
    this.#plane = deps.makePlane();
  }

  get plane(): Plane {
    return this.#plane;
  }

  get isLeader(): boolean {
    return this.#term !== undefined && this.#term === this.#ownTerm;
  }

  get present(): Leading["present"] {
    const { leadership } = this.#deps;
    return leadership?.term === undefined ? leadership?.leader : undefined;
  }

  /** Resolves when the plane runs, or another process leads. */
  async begin(): Promise<void> {
    const { leadership } = this.#deps;
    if (leadership === undefined) {
      await this.#plane.start(() => true);
      this.#term = 0;
      return;
    }
    this.#stopListening = leadership.onChange(() => {
      if (this.#begunTerm !== undefined && this.#begunTerm !== this.#ownTerm) this.#plane.letGo();
      void this.#adjustSoon();
    });
    await this.#adjustSoon();
  }

  async settled(signal: AbortSignal): Promise<void> {
    const { clock, leadership } = this.#deps;
    const deadlineMs = clock.monotonicMs() + this.patienceMs;
    while (!this.isLeader && this.present === undefined) {
      if (leadership?.isReachable === false) {
        throw new AppError("store_unavailable", "The store can't be reached; nothing was changed. Reading goes on.", {
          remedy: "Check that PostgreSQL runs and can be reached from here. It is tried again all the time.",
          fault: { retryAfterSeconds: 5 },
        });
      }
      if (clock.monotonicMs() > deadlineMs) throw nobodyLeads("This process does not lead");
      await clock.sleep(lookMs, signal);
    }
  }

  async catchUp(): Promise<void> {
    await this.#deps.store.transaction(async () => {});
  }

  seal(text: string): string {
    return this.#deps.secretBox.fingerprint(text, "passed-on");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopListening();
    this.#stop.abort();
    await this.#adjusting;
    this.#term = undefined;
    await this.#plane[Symbol.asyncDispose]();
  }

  get #ownTerm(): number | undefined {
    const { leadership } = this.#deps;
    return leadership === undefined ? 0 : leadership.term;
  }

  #adjustSoon(): Promise<void> {
    this.#adjusting = this.#adjusting.then(() => this.#adjust());
    return this.#adjusting;
  }

  async #adjust(): Promise<void> {
    const { clock, log } = this.#deps;
    while (this.#term !== this.#ownTerm && !this.#stop.signal.aborted) {
      if (this.#term !== undefined) await this.#renewPlane();
      const term = this.#ownTerm;
      if (term === undefined) return;
      try {
        this.#begunTerm = term;
        await this.#plane.start(() => this.#ownTerm === term);
        this.#term = term;
      } catch (error) {
        log.error({ err: error, term }, "hosts and tasks could not be taken up; trying again");
        await this.#renewPlane();
        await clock.sleep(startRetryMs, this.#stop.signal).catch(() => undefined);
      }
    }
  }

  async #renewPlane(): Promise<void> {
    const old = this.#plane;
    this.#term = undefined;
    this.#begunTerm = undefined;
    this.#plane = this.#deps.makePlane();
    await old[Symbol.asyncDispose]().catch((error: unknown) => {
      this.#deps.log.error({ err: error }, "hosts and tasks were not let go in good order");
    });
  }
}
