/**
 * Keeps a provider for every stored host, its connection state in its document, and its watch while it is connected.
 * Invariant: what a host's document says of its connection is what its link said last; when a host can't be reached its
 * VMs become `unknown`, and nothing else about them changes.
 */
import type { Call } from "#core/call.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { timestamp } from "#core/clock.ts";
import type { HostAddress, HostLinkStatus } from "#hardware/port.ts";
import type { Provider, ProviderFactory } from "#management/provider.ts";
import type { ProviderTable } from "#management/providers.ts";
import type { Draft } from "#store/port.ts";
import type { HostCredentials } from "./host-credential.ts";
import type { HostReconciler } from "./host-reconciler.ts";
import { defaultWatchOptions, HostWatch, type WatchOptions } from "./host-watch.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { newEvent } from "./resource-event.ts";
import { untilStored } from "./store-retry.ts";

interface HostConnectionDeps extends ReconcileDeps {
  readonly providers: ProviderTable;
  readonly providerFactory: ProviderFactory;
  /** invalid_field when no host can be reached so; the drivers know. Touches nothing. */
  readonly checkAddress: (address: HostAddress) => void;
  readonly credentials: HostCredentials;
  readonly reconciler: HostReconciler;
  readonly watch?: WatchOptions;
  /** Called after each connect; for work that had to wait for the host. Must not throw. */
  readonly onConnected?: (hostId: string) => void;
}

interface Attached {
  readonly provider: Provider;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

export class HostConnections implements AsyncDisposable {
  readonly #deps: HostConnectionDeps;
  readonly #attached = new Map<string, Attached>();

  constructor(deps: HostConnectionDeps) {
    this.#deps = deps;
  }

  /** Opens all stored hosts; they connect in the background. One that can't be opened says so in its document. */
  async start(): Promise<void> {
    const { inventory, store, credentials, log } = this.#deps;
    await store.transaction(async (transaction) => {
      // What the documents say of connections was true of the process before this one.
      for (const host of await transaction.list("host")) {
        await transaction.put("host", { ...host, connectionState: "connecting", connectionDetail: "" });
      }
    });
    for (const host of inventory.list("host")) {
      try {
        this.attach(host.id, await credentials.address(store, host));
      } catch (error) {
        const detail = error instanceof Error ? error.message : String(error);
        log.error({ err: error, hostId: host.id }, "host can't be opened");
        await this.#writeStatus(host.id, { state: "refused", detail });
      }
    }
  }

  checkAddress(address: HostAddress): void {
    this.#deps.checkAddress(address);
  }

  /** A provider that is not managed: for the check of a host before it is added. The caller disposes of it. */
  open(hostId: string, address: HostAddress): Provider {
    return this.#deps.providerFactory(hostId, address);
  }

  /** Manages a stored host from now on; nothing happens if it is managed already. */
  attach(hostId: string, address: HostAddress): void {
    if (this.#attached.has(hostId)) return;
    const provider = this.open(hostId, address);
    this.#deps.providers.add(hostId, provider);
    const stop = new AbortController();
    const ended = this.#follow(hostId, provider, stop.signal);
    this.#attached.set(hostId, { provider, stop, ended });
  }

  /** Waits until a managed host is connected, and shown as connected. */
  async ready(hostId: string, call: Call): Promise<void> {
    const link = this.#attached.get(hostId)?.provider.link;
    if (link === undefined) return;
    await link.ready(call);
    await this.#writeStatus(hostId, link.status);
  }

  /** Disconnects; documents stay. */
  async detach(hostId: string): Promise<void> {
    const attached = this.#attached.get(hostId);
    if (attached === undefined) return;
    this.#attached.delete(hostId);
    this.#deps.providers.remove(hostId);
    attached.stop.abort();
    await attached.provider[Symbol.asyncDispose]();
    await attached.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#attached.keys()].map((hostId) => this.detach(hostId)));
  }

  /** One watch per connection: each change of the link's state ends the one before. */
  async #follow(hostId: string, provider: Provider, signal: AbortSignal): Promise<void> {
    let watch: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;
    const end = async (): Promise<void> => {
      watch?.stop.abort();
      await watch?.ended;
      watch = undefined;
    };
    for await (const status of withPresent(provider, signal)) {
      await end();
      await this.#onStatus(hostId, status, signal);
      if (status.state !== "connected" || signal.aborted) continue;
      this.#deps.onConnected?.(hostId);
      const stop = new AbortController();
      const own = AbortSignal.any([stop.signal, signal]);
      const { reconciler, watch: options = defaultWatchOptions } = this.#deps;
      watch = { stop, ended: new HostWatch(this.#deps, reconciler, hostId, options).run(own) };
    }
    await end();
  }

  async #onStatus(hostId: string, status: HostLinkStatus, signal: AbortSignal): Promise<void> {
    const { inventory, reconciler, log } = this.#deps;
    const write = async (): Promise<void> => {
      await this.#writeStatus(hostId, status);
      if (status.state === "connecting" || status.state === "connected") return;
      const host = inventory.get("host", hostId)?.name ?? hostId;
      await reconciler.guest.markUnknown(hostId, `its host ${host} can't be reached`);
    };
    try {
      await untilStored(this.#deps, "a host's connection state", write, signal);
    } catch (error) {
      if (!signal.aborted) log.error({ err: error, hostId }, "connection state could not be stored");
    }
  }

  async #writeStatus(hostId: string, { state, detail }: HostLinkStatus): Promise<void> {
    const { writes, clock } = this.#deps;
    await writes.run(async (transaction) => {
      const host = await transaction.get("host", hostId);
      if (host === undefined) return;
      const isNew = host.connectionState !== state;
      await transaction.put("host", {
        ...host,
        connectionState: state,
        connectionDetail: detail,
        ...(state === "connected" && isNew ? { connectedAt: timestamp(clock) } : {}),
      });
      const event = isNew ? this.#statusEvent(host, { state, detail }) : undefined;
      if (event !== undefined) await transaction.put("event", event);
    });
  }

  #statusEvent(host: Host, { state, detail }: HostLinkStatus): Draft<"event"> | undefined {
    const { clock } = this.#deps;
    // Our own start is nothing that happened to the host.
    if (state === "connecting" && detail === "") return undefined;
    const because = detail === "" ? "" : `: ${detail}`;
    if (state === "connected")
      return newEvent(clock, "host.connected", "info", `Host ${host.name} is connected`, [host]);
    if (host.connectionState === "connected") {
      return newEvent(clock, "host.disconnected", "warning", `Host ${host.name} is disconnected${because}`, [host]);
    }
    if (state === "connecting") return undefined;
    return newEvent(clock, `host.${state}`, "error", `Host ${host.name} is ${state}${because}`, [host]);
  }
}

/** The link's status now, then every change. Subscribed before it is read, so that none is missed. */
async function* withPresent(provider: Provider, signal: AbortSignal): AsyncGenerator<HostLinkStatus, void> {
  const changes = provider.link.statusChanges(signal)[Symbol.asyncIterator]();
  const first = changes.next();
  yield provider.link.status;
  for (let result = await first; result.done !== true; result = await changes.next()) yield result.value;
}
