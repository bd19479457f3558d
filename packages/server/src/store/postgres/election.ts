/**
 * Takes part in the election of the one process that may write. The leader renews the lease four times in `takeoverMs`,
 * and stops being it by its own clock, without asking anybody, when it could not for three quarters of that time; the
 * others take it when they have seen no renewal for all of it, as the leader has it. So there are never two, also when a
 * process was stopped and goes on, or only one of them is cut off.
 */
import pg from "pg";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { LeaderAddress, Leadership } from "#store/port.ts";
import type { PostgresAddress } from "#store/postgres/address.ts";
import { destroySocket, sessionSettings, types } from "#store/postgres/connection.ts";
import { translatePostgresError } from "#store/postgres/error.ts";
import { channel, type Lease, readLease, renewLease, resignLease, takeLease } from "#store/postgres/lease.ts";

/** https://www.postgresql.org/docs/15/errcodes-appendix.html */
const lockNotAvailable = "55P03";

export interface ElectionOptions {
  readonly address: PostgresAddress;
  /** This process's own name; no other ever has it. */
  readonly holder: string;
  readonly takeoverMs: number;
  readonly schemaVersion: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** What waits for the server's answer waits in vain. */
  readonly onUnreachable: () => void;
  /** Another version of Innkeeper has changed the schema: this one can't go on. */
  readonly onOtherSchema: () => void;
}

export class Election implements Leadership {
  readonly #options: ElectionOptions;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #wakers = new Set<() => void>();
  readonly #decided = Promise.withResolvers<void>();
  readonly #running: Promise<void>;
  #client: pg.Client | undefined;
  #token: number | undefined;
  /** Monotonic. Of a leader: until when it is one, whatever happens. */
  #validUntilMs = 0;
  /** The lease as it was seen last, and since when it is so. */
  #seen: { readonly lease: Lease | undefined; readonly sinceMs: number } | undefined;
  #address: LeaderAddress | undefined;
  #wake = Promise.withResolvers<void>();
  #isReachable = true;
  #lapse = new AbortController();

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get term(): number | undefined {
    return this.#options.clock.monotonicMs() < this.#validUntilMs ? this.#token : undefined;
  }

  get leader(): LeaderAddress | undefined {
    return this.term === undefined ? this.#seen?.lease?.address : this.#address;
  }

  get decided(): Promise<void> {
    return this.#decided.promise;
  }

  get isReachable(): boolean {
    return this.#isReachable;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called when a commit was announced, and now and then. */
  onWake(listener: () => void): void {
    this.#wakers.add(listener);
  }

  advertise(address: LeaderAddress): void {
    this.#address = address;
    this.#wake.resolve();
  }

  /** A write found another token than this: it leads no more. */
  deposed(token: number): void {
    if (this.#token !== token) return;
    this.#stepDown("another process has taken over");
    this.#wake.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake.resolve();
    await this.#running;
    this.#listeners.clear();
    this.#wakers.clear();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { clock, takeoverMs } = this.#options;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      await this.#round();
      for (const waker of this.#wakers) waker();
      const waiting = new AbortController();
      const pause = clock.sleep(takeoverMs / 4, waiting.signal).catch(() => {});
      await Promise.race([pause, this.#wake.promise]);
      waiting.abort();
    }
    if (this.#token !== undefined && this.#client !== undefined) {
      await resignLease(this.#client, this.#token).catch(() => {});
    }
    this.#token = undefined;
    this.#lapse.abort();
    this.#drop();
  }

  async #round(): Promise<void> {
    const { log, address, takeoverMs } = this.#options;
    try {
      const client = await this.#connected();
      if (this.#token === undefined) await this.#watch(client);
      else await this.#renew(client, this.#token);
      if (!this.#isReachable) log.info({ store: address.title }, "the store can be reached again");
      this.#isReachable = true;
    } catch (error) {
      if (this.#isReachable) {
        const err = translatePostgresError(error, address.title);
        log.error({ err, store: address.title, takeoverMs }, "the store can't be reached");
      }
      this.#isReachable = false;
      this.#options.onUnreachable();
      this.#drop();
    }
  }

  async #renew(client: pg.Client, token: number): Promise<void> {
    const startMs = this.#options.clock.monotonicMs();
    const lease = await renewLease(client, token, this.#address);
    if (this.#token !== token) return;
    if (lease === undefined) this.#stepDown("another process has taken over");
    // Who asked meanwhile was told so: its tasks are let go.
    else if (this.term === undefined) this.#stepDown("the store did not answer in time");
    else this.#lead(lease, startMs);
  }

  async #watch(client: pg.Client): Promise<void> {
    const { clock } = this.#options;
    const lease = await readLease(client);
    const nowMs = clock.monotonicMs();
    const known = this.#seen;
    const isSame =
      known !== undefined && known.lease?.token === lease?.token && known.lease?.renewal === lease?.renewal;
    this.#seen = { lease, sinceMs: isSame ? known.sinceMs : nowMs };
    // As long as its holder, which may be set otherwise than this process, takes itself for the leader.
    const isOver = nowMs - this.#seen.sinceMs >= (lease?.takeoverMs ?? 0);
    // What was this process's own, and nobody has taken since, it may take again at once.
    if (isOver || lease === undefined || lease.holder === null || lease.holder === this.#options.holder)
      return this.#take(client, lease);
    if (JSON.stringify(known?.lease?.address) !== JSON.stringify(lease.address)) this.#tell();
    // One that has been seen to live leads; of another it will be clear in a moment.
    if (known !== undefined && !isSame) this.#decided.resolve();
  }

  async #take(client: pg.Client, seen: Lease | undefined): Promise<void> {
    const { clock, holder, takeoverMs, schemaVersion, log, onOtherSchema } = this.#options;
    const startMs = clock.monotonicMs();
    const taker = { holder, takeoverMs, address: this.#address, schemaVersion };
    const lease = await takeLease(client, seen, taker).catch((error: unknown): "lost" => {
      // What its holder was writing when it stood still: the server ends that in a moment.
      if (error instanceof pg.DatabaseError && error.code === lockNotAvailable) return "lost";
      throw error;
    });
    if (lease === "lost") return;
    if (lease === "other-schema") return onOtherSchema();
    this.#lead(lease, startMs);
    if (this.term === undefined) return;
    log.info({ term: lease.token, holder }, "this process leads");
    this.#decided.resolve();
    this.#tell();
    await client.query(`notify ${channel}`);
  }

  /** `startMs`: when the server was asked; what others see is not older. */
  #lead(lease: Lease, startMs: number): void {
    const { clock, takeoverMs } = this.#options;
    this.#token = lease.token;
    this.#seen = { lease, sinceMs: startMs };
    this.#validUntilMs = startMs + (takeoverMs * 3) / 4;
    this.#lapse.abort();
    this.#lapse = new AbortController();
    // By the clock alone: also while a question is unanswered.
    clock.sleep(Math.max(0, this.#validUntilMs - clock.monotonicMs()), this.#lapse.signal).then(
      () => {
        this.#isReachable = false;
        this.#options.onUnreachable();
        this.#stepDown("the store could not be reached in time");
      },
      () => undefined,
    );
  }

  #stepDown(why: string): void {
    if (this.#token === undefined) return;
    this.#options.log.warn({ term: this.#token }, `this process leads no more: ${why}`);
    this.#token = undefined;
    this.#validUntilMs = 0;
    this.#lapse.abort();
    // From now on as it is seen, not as it was.
    this.#seen = undefined;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== undefined) return this.#client;
    const { address, takeoverMs } = this.#options;
    const client = new pg.Client({
      ...address.config,
      types,
      application_name: "innkeeper-election",
      connectionTimeoutMillis: takeoverMs / 2,
      query_timeout: takeoverMs / 2,
      keepAlive: true,
    });
    client.on("error", () => {
      if (this.#client === client) this.#drop();
      this.#wake.resolve();
    });
    client.on("notification", () => {
      for (const waker of this.#wakers) waker();
      // A new leader, or one that has resigned.
      if (this.#token === undefined) this.#wake.resolve();
    });
    this.#client = client;
    await client.connect();
    await client.query(`${sessionSettings(takeoverMs / 2)}; set lock_timeout to ${takeoverMs / 4}; listen ${channel}`);
    return client;
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    destroySocket(client);
    client.end().catch(() => {});
  }
}
