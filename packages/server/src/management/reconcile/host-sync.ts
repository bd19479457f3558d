/**
 * Host sync: brings what a host reports into the store. It is the only writer of Vm documents, and of what hosts know of
 * hosts, pools, volumes and networks. Operations call it after they changed something, so that the result is on the read
 * path when their task ends; host events and a periodic pass call it for everything else.
 */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import type { Call } from "#core/call.ts";

/** AppErrors: host_unreachable, not_found (host), timeout, store_unavailable. */
export interface HostSync {
  /** Reads one guest and stores it; undefined when the host has no such guest (then its document is gone, too). */
  syncVm(hostId: string, uuid: string, call: Call): Promise<Vm | undefined>;
  /** Reads hardware, pools, volumes, networks and all guests. */
  syncHost(hostId: string, call: Call): Promise<void>;
  /**
   * Reads a pool anew from the storage; undefined when the host has no such pool. `changed`: the names of those volumes
   * that are read also if they are known; default: all.
   */
  syncPool(
    hostId: string,
    poolName: string,
    call: Call,
    changed?: ReadonlySet<string>,
  ): Promise<StoragePool | undefined>;
  /** Reads all networks of a host. */
  syncNetworks(hostId: string, call: Call): Promise<void>;
}
