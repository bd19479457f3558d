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

export interface HostNetwork {
  list(call: Call): Promise<readonly HostNetworkState[]>;
  /** invalid_field when such a network can't be; asks nobody. */
  check(network: Omit<NetworkCreate, "host">): void;
  create(network: Omit<NetworkCreate, "host">, call: Call): Promise<HostNetworkState>;
  start(name: string, call: Call): Promise<void>;
  stop(name: string, call: Call): Promise<void>;
  /** Stops and undefines. Idempotent. */
  delete(name: string, call: Call): Promise<void>;
  events(signal: AbortSignal): AsyncIterable<NetworkEvent>;
}
