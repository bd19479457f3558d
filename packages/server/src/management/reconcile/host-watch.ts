/**
 * Everything that is done about one host while it is connected: its events are followed, everything is read at once and
 * then periodically. One per connection; it ends with its signal. Invariant: a slow or broken part of a host delays
 * neither its other parts nor any other host.
 */
import type { HostId } from "@innkeeper/contract/id.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { timestamp } from "#core/clock.ts";
import { within } from "#core/deadline.ts";
import type { GuestEvent } from "#virtualization/port.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import { AddressWatch } from "./address-watch.ts";
import { fleetPace } from "./fleet-pace.ts";
import { guestEventResource, mayChangeAddresses } from "./guest-event.ts";
import type { HostReconciler } from "./host-reconciler.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { untilStored } from "./store-retry.ts";
import { WorkQueue } from "./work-queue.ts";
import { type MetricPoll, nextIntervalMs } from "#management/metric/metric-poll.ts";
import { sampleMs } from "#management/metric/recent-samples.ts";

export interface WatchOptions {
  /** Between two passes over a host; spread by a quarter either way. */
  readonly intervalMs: number;
  /** Between two passes that also open every image and read the hardware. */
  readonly deepIntervalMs: number;
}

export const defaultWatchOptions: WatchOptions = { intervalMs: 30_000, deepIntervalMs: 10 * 60_000 };

const parallelReads = 3;
const readDeadlineMs = 30_000;
const passDeadlineMs = 5 * 60_000;
/** A deep pass that could not read all comes again after this part of its interval: what is slow is not asked without pause. */
const deepRetryShare = 1 / 5;
/** A burst of pool events (each volume that is made or deleted is one) is read once. */
const poolSettleMs = 200;
/** As of a guest's (a start is four). */
const guestSettleMs = 15;
/** Of a host, while the store can't be written: so many are kept until it can. */
const waitingEventsMax = 1000;
/** Until all is read again after something could not be. */
const missedMs = 5000;
const restartMinMs = 500;
const restartMaxMs = 30_000;

/** When an event was heard of, and whose it was. */
interface Sighting {
  readonly at: string;
  readonly vm: Vm | undefined;
}

export class HostWatch {
  readonly #deps: ReconcileDeps;
  readonly #reconciler: HostReconciler;
  readonly #hostId: HostId;
  readonly #options: WatchOptions;
  readonly #queue = new WorkQueue(parallelReads);
  readonly #addresses: AddressWatch;
  #waitingEvents = 0;
  /** A pass has read all guests. */
  #isRead = false;
  #isPassDue = false;

  constructor(deps: ReconcileDeps, reconciler: HostReconciler, hostId: string, options: WatchOptions) {
    this.#deps = deps;
    this.#reconciler = reconciler;
    this.#hostId = hostId as HostId;
    this.#options = options;
    this.#addresses = new AddressWatch(deps, hostId);
  }

  /** Ends when the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const provider = this.#deps.providers.find(this.#hostId);
    if (provider === undefined) return;
    await Promise.all([
      this.#follow(
        "guests",
        (own) => provider.guest.events(own),
        (event) => this.#onGuest(event, signal),
        signal,
      ),
      this.#follow(
        "pools",
        (own) => provider.storage.pool.events(own),
        (event) => this.#onPool(event, signal),
        signal,
      ),
      this.#follow(
        "networks",
        (own) => provider.network.events(own),
        () => this.#onNetwork(signal),
        signal,
      ),
      this.#passes(signal),
      this.#addresses.run(signal),
      this.#samples(signal),
    ]);
  }

  async #follow<E>(
    what: string,
    open: (signal: AbortSignal) => AsyncIterable<E>,
    handle: (event: E) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log } = this.#deps;
    for (let delayMs = restartMinMs; !signal.aborted; delayMs = Math.min(delayMs * 2, restartMaxMs)) {
      try {
        for await (const event of open(signal)) {
          handle(event);
          delayMs = restartMinMs;
        }
      } catch (error) {
        if (signal.aborted) return;
        // Drivers without such events (libvirt's test driver has few) are read periodically alone.
        if (error instanceof AppError && error.code === "unsupported") return;
        log.warn({ err: error, hostId: this.#hostId }, `events of ${what} were interrupted`);
      }
      if (signal.aborted) return;
      await clock.sleep(delayMs, signal).catch(() => undefined);
      // What happened in between is in no event.
      await this.#guarded(`pass after lost ${what} events`, () => this.#pass(true, signal), signal);
    }
  }

  async #passes(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { intervalMs, deepIntervalMs } = this.#options;
    let deepDueMs = clock.monotonicMs();
    while (!signal.aborted) {
      const pace = fleetPace(this.#deps.inventory);
      const isDeep = clock.monotonicMs() >= deepDueMs;
      const isWhole = await this.#guarded("pass", () => this.#pass(isDeep, signal), signal);
      if (isDeep) deepDueMs = clock.monotonicMs() + pace * deepIntervalMs * (isWhole ? 1 : deepRetryShare);
      await clock.sleep(pace * intervalMs * (0.75 + Math.random() / 2), signal).catch(() => undefined);
    }
  }

  /** Measures the host; what guests do is seen in passing, also where libvirt told of nothing. */
  async #samples(signal: AbortSignal): Promise<void> {
    const { clock, log, metrics } = this.#deps;
    if (metrics === undefined) return;
    // Each host at its own moment, from the first time on.
    await clock.sleep(Math.random() * sampleMs, signal).catch(() => undefined);
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      try {
        await this.#sample(metrics, signal);
      } catch (error) {
        if (error instanceof AppError && error.code === "unsupported") return;
        if (!signal.aborted) log.debug({ err: error, hostId: this.#hostId }, "the host could not be measured");
      }
      const tookMs = clock.monotonicMs() - startMs;
      await clock.sleep(nextIntervalMs(tookMs) - tookMs, signal).catch(() => undefined);
    }
  }

  async #sample(metrics: MetricPoll, signal: AbortSignal): Promise<void> {
    for (const uuid of await within(signal, readDeadlineMs, (call) => metrics.sample(this.#hostId, call))) {
      // Of a host that was just added all would be read one by one, beside the pass that reads them all.
      if (!this.#isRead && this.#vmOf(uuid) === undefined) continue;
      void this.#readGuest(uuid, signal);
    }
  }

  /** Whether all was read. */
  #pass(isDeep: boolean, signal: AbortSignal): Promise<boolean> {
    const read = (): Promise<boolean> => within(signal, passDeadlineMs, (call) => this.#readAll(isDeep, signal, call));
    return this.#reconciler.turns.run(read, { signal });
  }

  async #readAll(isDeep: boolean, signal: AbortSignal, call: Call): Promise<boolean> {
    const { guest, network, storage, hardware } = this.#reconciler;
    const readGuests = async (): Promise<void> => {
      await guest.syncAll(this.#hostId, call);
      this.#isRead = true;
    };
    const parts: readonly [string, () => Promise<void>][] = [
      ["load", () => hardware.syncUsage(this.#hostId, call)],
      ["guests", readGuests],
      ["networks", () => network.syncAll(this.#hostId, call)],
      ["storage", () => storage.syncAll(this.#hostId, { refresh: isDeep }, call)],
      ["hardware", () => (isDeep ? hardware.syncHardware(this.#hostId, call) : Promise.resolve())],
    ];
    let isWhole = true;
    for (const [what, work] of parts) {
      const stored = (): Promise<void> => untilStored(this.#deps, `${what} of a host`, work, call.signal);
      isWhole = (await this.#guarded(what, stored, signal)) && isWhole;
    }
    this.#addresses.wake();
    return isWhole;
  }

  /** Says itself when it could not be read, once for all who joined. */
  #readGuest(uuid: string, signal: AbortSignal, settled?: () => Promise<void>): Promise<void> {
    const sync = async (): Promise<void> => {
      await within(signal, readDeadlineMs, (call) => this.#reconciler.syncVm(this.#hostId, uuid, call));
    };
    const store = (): Promise<void> => untilStored(this.#deps, `VM ${uuid}`, sync, signal);
    const read = async (): Promise<void> => {
      if (!(await this.#guarded(`VM ${uuid}`, store, signal))) void this.#passSoon(signal);
    };
    return this.#queue.add(`vm ${uuid}`, read, settled);
  }

  /** What was not read when it happened is not left to the next periodic pass. */
  async #passSoon(signal: AbortSignal): Promise<void> {
    if (this.#isPassDue) return;
    this.#isPassDue = true;
    await this.#deps.clock.sleep(missedMs, signal).catch(() => undefined);
    this.#isPassDue = false;
    if (!signal.aborted)
      await this.#guarded("pass after a guest that could not be read", () => this.#pass(false, signal), signal);
  }

  #onGuest(event: GuestEvent, signal: AbortSignal): void {
    const read = this.#readGuest(event.uuid, signal, () => this.#deps.clock.sleep(guestSettleMs, signal));
    if (this.#waitingEvents >= waitingEventsMax) return;
    this.#waitingEvents++;
    const seen = { at: timestamp(this.#deps.clock), vm: this.#vmOf(event.uuid) };
    const task = async (): Promise<void> => {
      try {
        // Also when the guest could not be read, the event happened.
        await read;
        await this.#recordGuestEvent(event, seen, signal);
        if (mayChangeAddresses(event)) this.#addresses.poke(event.uuid);
      } finally {
        this.#waitingEvents--;
      }
    };
    void this.#guarded("guest event", task, signal);
  }

  #onPool({ poolName, type }: { poolName: string; type: string }, signal: AbortSignal): void {
    // A refresh that we made ourselves is told of, too. It is not passed over: between it and the news of it others may
    // have made volumes, and what is read then is libvirt's memory, which refreshes nothing and so ends here.
    const refresh = type === "started";
    const work = async (): Promise<void> => {
      await within(signal, readDeadlineMs, (call) =>
        this.#reconciler.storage.syncPool(this.#hostId, poolName, { refresh }, call),
      );
    };
    const settle = (): Promise<void> => this.#deps.clock.sleep(poolSettleMs, signal);
    const key = `pool ${poolName} ${refresh ? "anew" : ""}`;
    void this.#guarded(`pool ${poolName}`, () => this.#queue.add(key, work, settle), signal);
  }

  #onNetwork(signal: AbortSignal): void {
    const work = (): Promise<void> =>
      within(signal, readDeadlineMs, (call) => this.#reconciler.network.syncAll(this.#hostId, call));
    void this.#guarded("networks", () => this.#queue.add("networks", work), signal);
  }

  async #recordGuestEvent(event: GuestEvent, seen: Sighting, signal: AbortSignal): Promise<void> {
    const { inventory, writes } = this.#deps;
    const host = inventory.get("host", this.#hostId);
    if (host === undefined) return;
    // A guest of ours that is not stored: on its way here, or one that Innkeeper made for itself.
    const vm = this.#vmOf(event.uuid) ?? seen.vm;
    if (vm === undefined) return;
    const resource = guestEventResource(event, seen.at, {
      vm: { kind: "vm", id: vm.id, name: event.name },
      host: { kind: "host", id: host.id, name: host.name },
    });
    if (resource === undefined) return;
    const write = (): Promise<void> => writes.runLater((transaction) => transaction.put("event", resource));
    await untilStored(this.#deps, `event ${event.type} of VM ${event.name}`, write, signal);
  }

  #vmOf(uuid: string): Vm | undefined {
    return this.#deps.inventory.by("vm", "uuid", uuid).find((vm) => vm.hostId === this.#hostId);
  }

  /** Whether it went well; `work` itself may tell that it did not. */
  async #guarded(what: string, work: () => Promise<unknown>, signal: AbortSignal): Promise<boolean> {
    try {
      return (await work()) !== false;
    } catch (error) {
      if (!signal.aborted)
        this.#deps.log.warn({ err: error, hostId: this.#hostId }, `${what} of the host could not be read`);
      return signal.aborted;
    }
  }
}
