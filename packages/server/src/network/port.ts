/**
 * Network: logical networks of one host. AppErrors: not_found, name_taken, conflict, unsupported, host_unreachable, host_failed, timeout.
 */
import type { Network, NetworkCreate } from "@innkeeper/contract/resource/network.ts";
import type { Call } from "#core/call.ts";

export type HostNetworkState = Omit<Network, "id" | "revision" | "hostId">;

export interface NetworkEvent {
  readonly networkName: string;
  readonly type: string;
}

/** The UUID is what a network is known by: its name may come to mean another. */
export interface NetworkRef {
  readonly name: string;
  readonly uuid: string;
}

export interface HostNetwork {
  list(call: Call): Promise<readonly HostNetworkState[]>;
  /** invalid_field when such a network can't be; asks nobody. */
  check(network: Omit<NetworkCreate, "host">): void;
  /** Idempotent: what an interrupted attempt left under the UUID is taken up. name_taken if the name is another's. */
  create(network: Omit<NetworkCreate, "host"> & NetworkRef, call: Call): Promise<HostNetworkState>;
  start(network: NetworkRef, call: Call): Promise<void>;
  stop(network: NetworkRef, call: Call): Promise<void>;
  /** Stops and undefines. Idempotent. */
  delete(network: NetworkRef, call: Call): Promise<void>;
  events(signal: AbortSignal): AsyncIterable<NetworkEvent>;
}
