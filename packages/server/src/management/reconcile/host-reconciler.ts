/** Host sync over all hosts: the parts (guests, storage, networks, hardware) together, as operations and watches call them. */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Call } from "#core/call.ts";
import { Turns } from "#core/concurrency.ts";
import { GuestSync } from "./guest-sync.ts";
import { HardwareSync } from "./hardware-sync.ts";
import type { HostSync } from "./host-sync.ts";
import { NetworkSync } from "./network-sync.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { StorageSync } from "./storage-sync.ts";

/** A background refresh of another host's view of shared storage: what comes in this time is seen by one refresh. */
const peerSettleMs = 500;
const peerDeadlineMs = 60_000;
/** What is read of so many hosts at once is in memory at once, and holds up all else; one that is slow counts for so long. */
const parallelPasses = 16;
const passPatienceMs = 2000;

export class HostReconciler implements HostSync {
  readonly guest: GuestSync;
  readonly storage: StorageSync;
  readonly network: NetworkSync;
  readonly hardware: HardwareSync;
  /** Of the passes over whole hosts. */
  readonly turns = new Turns(parallelPasses, passPatienceMs);
  readonly #deps: ReconcileDeps;
  /** Pools whose background refresh is yet to begin, by id: which of their volumes changed; undefined: any may have. */
  readonly #duePeers = new Map<string, Set<string> | undefined>();

  constructor(deps: ReconcileDeps) {
    this.#deps = deps;
    this.guest = new GuestSync(deps);
    this.storage = new StorageSync(deps);
    this.network = new NetworkSync(deps);
    this.hardware = new HardwareSync(deps);
  }

  syncVm(hostId: string, uuid: string, call: Call): Promise<Vm | undefined> {
    return this.guest.syncVm(hostId, uuid, call);
  }

  syncHost(hostId: string, call: Call): Promise<void> {
    const read = async (): Promise<void> => {
      // Guests first: they are what people look at.
      await this.guest.syncAll(hostId, call);
      await this.network.syncAll(hostId, call);
      await this.storage.syncAll(hostId, { refresh: true }, call);
      await this.hardware.syncHardware(hostId, call);
      await this.hardware.syncUsage(hostId, call);
    };
    return this.turns.run(read, { ...call, goesFirst: true });
  }

  async syncPool(
    hostId: string,
    poolName: string,
    call: Call,
    changed?: ReadonlySet<string>,
  ): Promise<StoragePool | undefined> {
    const pool = await this.storage.syncPool(hostId, poolName, { refresh: true, changed }, call);
    if (pool?.shared === true) this.#syncPeers(pool, changed);
    return pool;
  }

  syncNetworks(hostId: string, call: Call): Promise<void> {
    return this.network.syncAll(hostId, call);
  }

  /** The other hosts' libvirt learns of a change on shared storage only by a refresh; nobody waits for it. */
  #syncPeers(pool: StoragePool, changed: ReadonlySet<string> | undefined): void {
    const { inventory, providers } = this.#deps;
    const connected = new Set(providers.connectedHostIds());
    const peers = inventory
      .by("storage-pool", "name", pool.name)
      .filter((peer) => peer.shared && peer.hostId !== pool.hostId && connected.has(peer.hostId));
    for (const peer of peers) {
      const isDue = this.#duePeers.has(peer.id);
      const due = isDue ? this.#duePeers.get(peer.id) : new Set<string>();
      this.#duePeers.set(peer.id, changed && due?.union(changed));
      if (!isDue) void this.#syncPeer(peer);
    }
  }

  async #syncPeer({ id, hostId, name }: StoragePool): Promise<void> {
    const { clock, log } = this.#deps;
    const signal = AbortSignal.timeout(peerDeadlineMs);
    try {
      await clock.sleep(peerSettleMs, signal);
      const changed = this.#duePeers.get(id);
      this.#duePeers.delete(id);
      await this.storage.syncPool(hostId, name, { refresh: true, changed }, { signal });
    } catch (error) {
      log.debug({ err: error, hostId, pool: name }, "shared pool could not be refreshed on a peer");
    }
  }
}
