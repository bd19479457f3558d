/**
 * Addresses of a host's running guests: asked for quickly from a start until the first is found, then slowly, because no
 * event tells of them. A guest without an answer costs less and less; many guests are asked a few at a time.
 */
import { isDeepStrictEqual } from "node:util";
import type { GuestAddress, Vm } from "@innkeeper/contract/resource/vm.ts";
import { vmCan } from "@innkeeper/contract/state/vm.ts";
import { mapLimited } from "#core/concurrency.ts";
import { within } from "#core/deadline.ts";
import { fleetPace } from "./fleet-pace.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";

const firstDelayMs = 300;
const growth = 1.3;
/** While nothing is found. */
const searchMaxMs = 5_000;
/** Once something is found; and after the search has taken this long in vain. */
const steadyMs = 30_000;
const searchEndMs = 5 * 60_000;
/** Over which the first looks at many guests are spread, for each `hostsAtFullPace` hosts. */
const spreadMs = 4000;
/** Between two looks at who is due; of guests that start, or are new, it is told. */
const restMinMs = 100;
const restMaxMs = 60_000;
const parallelGuests = 3;
const askDeadlineMs = 5_000;

interface Entry {
  delayMs: number;
  nextAtMs: number;
  readonly sinceMs: number;
}

function search(nowMs: number): Entry {
  return { delayMs: firstDelayMs, nextAtMs: nowMs + firstDelayMs, sinceMs: nowMs };
}

export class AddressWatch {
  readonly #deps: ReconcileDeps;
  readonly #hostId: string;
  readonly #entries = new Map<string, Entry>();
  #poked = Promise.withResolvers<void>();

  constructor(deps: ReconcileDeps, hostId: string) {
    this.#deps = deps;
    this.#hostId = hostId;
  }

  /** Something happened that may have given the guest an address: search anew. */
  poke(uuid: string): void {
    this.#entries.set(uuid, search(this.#deps.clock.monotonicMs()));
    this.#poked.resolve();
  }

  /** There may be guests that were not known before. */
  wake(): void {
    this.#poked.resolve();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { inventory, clock } = this.#deps;
    while (!signal.aborted) {
      // Without a network card there is nothing to ask for.
      const running = inventory.byHost("vm", this.#hostId).filter((vm) => vmCan.guest(vm) && vm.spec.nics.length > 0);
      const nowMs = clock.monotonicMs();
      const due = running.filter((vm) => this.#entry(vm, nowMs).nextAtMs <= nowMs);
      this.#forgetOthers(running);
      this.#poked = Promise.withResolvers();
      await mapLimited(due, parallelGuests, (vm) => this.#ask(vm, signal));
      await this.#rest(signal);
    }
  }

  /** Until the next guest is due, or one is poked. */
  async #rest(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const nextAtMs = Math.min(...[...this.#entries.values()].map((entry) => entry.nextAtMs));
    const restMs = Math.max(restMinMs, Math.min(restMaxMs, nextAtMs - clock.monotonicMs()));
    const over = new AbortController();
    const sleep = clock.sleep(restMs, AbortSignal.any([signal, over.signal])).catch(() => undefined);
    await Promise.race([sleep, this.#poked.promise]);
    over.abort();
  }

  #entry(vm: Vm, nowMs: number): Entry {
    const known = this.#entries.get(vm.uuid);
    if (known !== undefined) return known;
    const entry = this.#firstEntry(vm, nowMs);
    this.#entries.set(vm.uuid, entry);
    return entry;
  }

  #firstEntry(vm: Vm, nowMs: number): Entry {
    if (vm.addresses.length > 0) return this.#steady(nowMs);
    const { clock, inventory } = this.#deps;
    const pace = fleetPace(inventory);
    const ranMs = vm.startedAt === undefined ? Number.POSITIVE_INFINITY : clock.now() - Date.parse(vm.startedAt);
    if (pace === 1 || ranMs < searchEndMs) return search(nowMs);
    // Of a large fleet many guests never tell an address: one that has run for long is asked once, then in passing.
    const nextAtMs = nowMs + firstDelayMs + Math.random() * spreadMs * pace;
    return { delayMs: searchMaxMs, nextAtMs, sinceMs: nowMs - searchEndMs };
  }

  /** What is known already when we start is only looked at again in passing, each at its own moment. */
  #steady(nowMs: number): Entry {
    const delayMs = steadyMs * fleetPace(this.#deps.inventory);
    return { delayMs, nextAtMs: nowMs + Math.random() * delayMs, sinceMs: nowMs };
  }

  async #ask(vm: Vm, signal: AbortSignal): Promise<void> {
    const { providers, inventory, clock, log } = this.#deps;
    let isFound = false;
    try {
      const { guest } = providers.get(this.#hostId);
      const addresses = await within(signal, askDeadlineMs, (call) =>
        guest.inventory.addresses(vm.uuid, { agentConnected: vm.guestAgentConnected }, call),
      );
      isFound = addresses.length > 0;
      await this.#write(vm, addresses);
    } catch (error) {
      if (!signal.aborted) log.debug({ err: error, vm: vm.id }, "addresses could not be read");
    }
    const entry = this.#entries.get(vm.uuid);
    if (entry === undefined) return;
    const nowMs = clock.monotonicMs();
    const isSearchOver = isFound || nowMs - entry.sinceMs >= searchEndMs;
    entry.delayMs = isSearchOver ? steadyMs * fleetPace(inventory) : Math.min(entry.delayMs * growth, searchMaxMs);
    entry.nextAtMs = nowMs + entry.delayMs;
  }

  async #write(asked: Vm, addresses: readonly GuestAddress[]): Promise<void> {
    const { inventory, writes } = this.#deps;
    if (isDeepStrictEqual(inventory.get("vm", asked.id)?.addresses, addresses)) return;
    await writes.run(async (transaction) => {
      const vm = await transaction.get("vm", asked.id);
      if (vm === undefined || vm.hostId !== this.#hostId || !vmCan.guest(vm)) return;
      await transaction.put("vm", { ...vm, addresses: [...addresses] });
    });
  }

  #forgetOthers(running: readonly Vm[]): void {
    const uuids = new Set(running.map((vm) => vm.uuid));
    for (const uuid of this.#entries.keys()) if (!uuids.has(uuid)) this.#entries.delete(uuid);
  }
}
