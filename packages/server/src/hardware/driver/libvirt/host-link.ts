/**
 * One host kept connected through libvirt. One attempt at a time; after a failure the next follows after a delay that
 * doubles up to a cap, with jitter so that hosts that went down together are not all asked at the same instant. A loss
 * is followed by an attempt at once, unless the connection had only just been made: a daemon that dies again and again
 * is not helped by being asked without pause.
 * Invariant: nothing is thrown from the background; `status` says why the link is down, as of the latest attempt.
 */
import { connect, type Connection, type ConnectOptions } from "@innkeeper/libvirt";
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { HostConnectionState, HostHardware, HostUsage } from "@innkeeper/contract/resource/host.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import type { HostAddress, HostLink, HostLinkStatus } from "#hardware/port.ts";
import { mapLibvirtError } from "#libvirt/error.ts";
import { longDeadlineMs, type LibvirtSession, onConnection } from "#libvirt/session.ts";
import { requireSupported } from "#libvirt/version.ts";
import { readHardware } from "./host-hardware.ts";
import { checkHostUri, type UriPolicy } from "./host-uri.ts";
import { UsageMeter } from "./host-usage.ts";
import { runKvmTest } from "./kvm-test.ts";

interface HostLinkOptions extends UriPolicy {
  readonly clock: Clock;
  readonly log: Logger;
  /** Default 500 ms, doubled after each failure up to the maximum of 30 s. */
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
  readonly connectTimeoutMs?: number;
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
        if (clock.monotonicMs() - sinceMs >= stableMs) failures = 0;
        else if (++failures > 1 && !this.#closing.signal.aborted) {
          this.#fail(new AppError("host_unreachable", `The connection to the host is lost again and again (${why}).`));
          await this.#pause(failures - 1);
        }
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        failures++;
        timeoutMs = this.#options.connectTimeoutMs ?? connectTimeoutMs;
        this.#fail(mapLibvirtError(error, { what: `connect to ${this.#address.uri}` }));
        await this.#pause(failures);
      }
    }
  }

  async #connect(timeoutMs: number): Promise<Connection> {
    const connection = await connect(this.#address.uri, this.#connectOptions(timeoutMs));
    try {
      await requireSupported(connection, { signal: this.#closing.signal, timeoutMs });
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
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
    const why = error?.message ?? "closed";
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
    const { clock } = this.#options;
    const min = this.#options.retryMinMs ?? retryMinMs;
    const max = this.#options.retryMaxMs ?? retryMaxMs;
    const delayMs = Math.min(max, min * 2 ** Math.min(failures - 1, 20));
    // Half of it is fixed, half is chance.
    await clock.sleep(delayMs * (0.5 + Math.random() / 2), this.#closing.signal).catch(() => undefined);
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
