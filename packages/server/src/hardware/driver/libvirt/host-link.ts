/**
 * One host kept connected through libvirt. One attempt at a time; after a failure the next follows after a delay that
 * doubles up to a cap, with jitter so that hosts that went down together are not all asked at the same instant. A loss
 * is followed by an attempt at once, unless the connection had only just been made: a daemon that dies again and again
 * is not helped by being asked without pause. A daemon that keeps the connection but answers nobody is not connected.
 * Invariant: nothing is thrown from the background; `status` says why the link is down, as of the latest attempt.
 */
import { connect, type Connection, type ConnectOptions, LibvirtError } from "@innkeeper/libvirt";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { HostConnectionState, HostHardware, HostUsage } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { HostAddress, HostLink, HostLinkStatus } from "#hardware/port.ts";
import { markOwnPools } from "#libvirt/own-pool.ts";
import { mapLibvirtError } from "#libvirt/error.ts";
import { isOnLongCall, longDeadlineMs, type LibvirtSession, onConnection } from "#libvirt/session.ts";
import { requireSupported } from "#libvirt/version.ts";
import { readHardware } from "./host-hardware.ts";
import { checkHostUri, type UriPolicy } from "./host-uri.ts";
import { UsageMeter } from "./host-usage.ts";
import { runKvmTest } from "./kvm-test.ts";
import type { ReconnectPace } from "./reconnect-pace.ts";

interface HostLinkOptions extends UriPolicy {
  readonly clock: Clock;
  readonly log: Logger;
  /** Shared by the links of a fleet. */
  readonly pace?: ReconnectPace;
  /** Default 500 ms, doubled after each failure up to the maximum of 30 s. */
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
  readonly connectTimeoutMs?: number;
  /** Of the pools that live for the moment (own-pool.ts). */
  readonly poolOwner?: string;
}

const retryMinMs = 500;
const retryMaxMs = 30_000;
const connectTimeoutMs = 10_000;
/** A connection that lasted so long was a good one: what comes after is a new story. */
const stableMs = 30_000;
/** After a loss the first attempt tells whether the host is there at all; it must not take long. */
const reconnectTimeoutMs = 5_000;
/** Dead hosts are found after (count + 1) × interval, at most one more: 8 to 10 s. */
const keepalive = { intervalMs: 2_000, count: 3 };

/**
 * What a daemon that works answers at once, as it answers what it is asked for guests: of low priority (libvirt 9.0
 * remote_protocol.x), and without a guest's monitor.
 */
const question = { doms: [], stats: 1, flags: 0 }; // VIR_DOMAIN_STATS_STATE
const answerTimeoutMs = 5_000;

const stateByCode: Partial<Record<ErrorCode, HostConnectionState>> = {
  host_untrusted: "untrusted",
  host_refused: "refused",
  unsupported: "refused",
};

type Failure = { readonly error: AppError };

export class LibvirtHostLink implements HostLink, LibvirtSession {
  readonly #address: HostAddress;
  readonly #options: HostLinkOptions;
  readonly #usage: UsageMeter;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  readonly #watchers = new Set<(status: HostLinkStatus) => void>();
  #status: HostLinkStatus = { state: "connecting", detail: "" };
  #connection: Connection | undefined;
  #failure: AppError | undefined;
  /** Asked whether it answers; until the answer, or the loss. */
  #asked: Connection | undefined;
  /** It took connections and answered nobody: taken for connected once it answers. */
  #isMute = false;
  /** Settled by the attempt that is under way, with what came of it. */
  #attempt = Promise.withResolvers<Connection | Failure>();

  /** Begins to connect. invalid_field for a URI that is not accepted. */
  constructor(address: HostAddress, options: HostLinkOptions) {
    checkHostUri(address.uri, options);
    this.#address = address;
    this.#options = options;
    this.#usage = new UsageMeter(options.clock);
    this.#running = this.#run();
  }

  get status(): HostLinkStatus {
    return this.#status;
  }

  async *statusChanges(signal: AbortSignal): AsyncGenerator<HostLinkStatus, void> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    const queue: HostLinkStatus[] = [];
    let wake = Promise.withResolvers<void>();
    const watcher = (status: HostLinkStatus): void => {
      queue.push(status);
      wake.resolve();
    };
    const onEnd = (): void => wake.resolve();
    this.#watchers.add(watcher);
    ended.addEventListener("abort", onEnd, { once: true });
    try {
      while (!ended.aborted) {
        const status = queue.shift();
        if (status !== undefined) yield status;
        else {
          await wake.promise;
          wake = Promise.withResolvers();
        }
      }
    } finally {
      this.#watchers.delete(watcher);
      ended.removeEventListener("abort", onEnd);
    }
  }

  async ready(call: Call): Promise<void> {
    await this.connection(call);
  }

  /** At once when connected; waits for an attempt that is under way; else throws why the latest one failed. */
  async connection(call: Call): Promise<Connection> {
    if (this.#connection?.isOpen === true) return this.#connection;
    if (this.#closing.signal.aborted) throw new AppError("host_unreachable", "The host is no longer managed.");
    if (this.#failure !== undefined) throw this.#failure;
    const outcome = await abortable(this.#attempt.promise, call.signal);
    if ("error" in outcome) throw outcome.error;
    return outcome;
  }

  /** A call that is not answered may be that one's fault. One to which a working daemon always knows the answer is not. */
  unanswered(connection: Connection): void {
    if (connection !== this.#connection || connection === this.#asked) return;
    this.#asked = connection;
    void this.#checkAnswers(connection);
  }

  hardware(call: Call): Promise<HostHardware> {
    const { log } = this.#options;
    const session = { session: this };
    return onConnection(
      session,
      call,
      "read the host's hardware",
      (connected) => readHardware(connected, log),
      longDeadlineMs,
    );
  }

  usage(call: Call): Promise<HostUsage> {
    return onConnection({ session: this }, call, "read the host's load", (connected) => this.#usage.read(connected));
  }

  testKvm(call: Call): Promise<HostHardware["kvm"]> {
    return onConnection(
      { session: this },
      call,
      "test KVM on the host",
      async (connected) => {
        const { kvm, architecture, machineTypes } = await readHardware(connected, this.#options.log);
        if (!kvm.advertised) return kvm;
        return runKvmTest(connected, { domainType: "kvm", architecture, machineTypes });
      },
      longDeadlineMs,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
    this.#attempt.resolve({ error: new AppError("host_unreachable", "The host is no longer managed.") });
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    let failures = 0;
    let timeoutMs = this.#options.connectTimeoutMs ?? connectTimeoutMs;
    while (!this.#closing.signal.aborted) {
      try {
        this.#connection = await this.#connect(timeoutMs);
        this.#failure = undefined;
        this.#setStatus({ state: "connected", detail: "" });
        this.#attempt.resolve(this.#connection);
        const sinceMs = clock.monotonicMs();
        const why = await this.#untilLost(this.#connection);
        timeoutMs = reconnectTimeoutMs;
        const delayMs = this.#options.pace?.delayMs() ?? 0;
        if (delayMs > 0) await this.#sleep(delayMs);
        if (clock.monotonicMs() - sinceMs >= stableMs) failures = 0;
        else if (++failures > 1 && !this.#closing.signal.aborted) {
          this.#fail(new AppError("host_unreachable", `The connection to the host is lost again and again (${why}).`));
          await this.#pause(failures - 1);
        }
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        failures++;
        timeoutMs = this.#options.connectTimeoutMs ?? connectTimeoutMs;
        const { uri } = this.#address;
        this.#fail(mapLibvirtError(error, { what: `connect to ${uri}`, uri }));
        await this.#pause(failures);
      }
    }
  }

  async #connect(timeoutMs: number): Promise<Connection> {
    const connection = await connect(this.#address.uri, this.#connectOptions(timeoutMs));
    const { poolOwner } = this.#options;
    if (poolOwner !== undefined) markOwnPools(connection, poolOwner);
    try {
      await requireSupported(connection, { signal: this.#closing.signal, timeoutMs });
      if (this.#isMute && !(await this.#answers(connection))) throw this.#mute();
      this.#isMute = false;
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  async #checkAnswers(connection: Connection): Promise<void> {
    let isFine = await this.#answers(connection);
    // Calls that take long, begun meanwhile, may be all that it works on for one client (max_client_requests).
    const { signal } = this.#closing;
    while (!isFine && !signal.aborted && connection.isOpen && isOnLongCall(connection)) {
      isFine = await this.#answers(connection);
    }
    this.#asked = undefined;
    if (isFine || !connection.isOpen) return;
    this.#isMute = true;
    await connection.close();
  }

  async #answers({ remote }: Connection): Promise<boolean> {
    const options = { signal: this.#closing.signal, timeoutMs: answerTimeoutMs };
    try {
      await remote.connectGetAllDomainStats(question, options);
      return true;
    } catch (error) {
      // "I can't" is an answer.
      return error instanceof LibvirtError;
    }
  }

  #mute(): AppError {
    return new AppError(
      "host_unreachable",
      `Can't connect to ${this.#address.uri}: libvirtd takes connections but answers no question about its guests.`,
      {
        remedy:
          "Look on the host what libvirtd waits for (its log; storage that stands still, as an NFS server that is gone). Restarting libvirtd leaves guests running.",
      },
    );
  }

  /** Ends with the connection, and tells why it did; calls wait for the next attempt. */
  async #untilLost(connection: Connection): Promise<string> {
    const closing = this.#closing.signal;
    const close = (): void => void connection.close();
    closing.addEventListener("abort", close, { once: true });
    if (closing.aborted) close();
    const { error } = await connection.closed;
    closing.removeEventListener("abort", close);
    this.#connection = undefined;
    this.#attempt = Promise.withResolvers();
    const why = this.#isMute ? "it answered no calls any more" : (error?.message ?? "closed");
    if (closing.aborted) return why;
    this.#options.log.warn({ uri: this.#address.uri, why }, "connection to host lost");
    this.#setStatus({ state: "connecting", detail: `The connection was lost (${why}).` });
    return why;
  }

  #fail(failure: AppError): void {
    this.#failure = failure;
    this.#attempt.resolve({ error: failure });
    this.#attempt = Promise.withResolvers();
    const state = stateByCode[failure.code] ?? "unreachable";
    if (this.#status.state === state && this.#status.detail === failure.message) return;
    this.#setStatus({ state, detail: failure.message });
  }

  async #pause(failures: number): Promise<void> {
    const min = this.#options.retryMinMs ?? retryMinMs;
    const max = this.#options.retryMaxMs ?? retryMaxMs;
    const delayMs = Math.min(max, min * 2 ** Math.min(failures - 1, 20));
    // Half of it is fixed, half is chance.
    await this.#sleep(delayMs * (0.5 + Math.random() / 2));
  }

  async #sleep(delayMs: number): Promise<void> {
    await this.#options.clock.sleep(delayMs, this.#closing.signal).catch(() => undefined);
  }

  #connectOptions(timeoutMs: number): ConnectOptions {
    const { tls, ssh, sasl } = this.#address;
    return {
      signal: this.#closing.signal,
      timeoutMs,
      keepalive,
      ...(tls === undefined
        ? {}
        : {
            tls: {
              ca: tls.caCertificate,
              ...(tls.clientCertificate === undefined ? {} : { cert: tls.clientCertificate }),
              ...(tls.clientKey === undefined ? {} : { key: tls.clientKey }),
            },
          }),
      ...(ssh === undefined ? {} : { ssh }),
      ...(sasl === undefined ? {} : { sasl }),
    };
  }

  #setStatus(status: HostLinkStatus): void {
    this.#status = status;
    for (const watcher of this.#watchers) watcher(status);
  }
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
