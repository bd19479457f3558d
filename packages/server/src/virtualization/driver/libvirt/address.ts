/**
 * Addresses of a guest from all that know some: the DHCP server's leases, the agent, the host's ARP table. The same
 * address from several is told once, by the best source: the agent sees what is configured, a lease is what was handed
 * out, ARP what was seen on the wire (libvirt 9.0 virDomainInterfaceAddresses).
 */
import {
  CallTimeoutError,
  type Connection,
  type DomainInterface,
  VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
  VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
  VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
} from "@innkeeper/libvirt";
import type { GuestAddress } from "@innkeeper/contract/resource/vm.ts";
import { isNotFound } from "#libvirt/error.ts";
import type { DomainCall, GuestDriverContext } from "./driver-context.ts";

type Source = GuestAddress["source"];

const sources: readonly (readonly [Source, number])[] = [
  ["agent", VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT],
  ["lease", VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE],
  ["arp", VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP],
];

/** An agent that says it is there and then is silent must not hold up a list of VMs. */
const agentDeadlineMs = 1000;

/**
 * How long a silent agent is not asked again: libvirtd goes on waiting for it for 5 s and holds one of the connection's
 * few requests in flight meanwhile, so a host with many such guests would come to a stand.
 */
const silentAgentPauseMs = 60_000;
/** By connection and guest: until when (monotonic) its agent is left alone. */
const silentUntil = new WeakMap<Connection, Map<string, number>>();

/** Best source first, in the order of the guest's NICs. Empty for a guest that is off. */
export async function readAddresses(
  { clock }: Pick<GuestDriverContext, "clock">,
  { connection, remote, dom, options }: DomainCall,
  agentConnected: boolean,
): Promise<GuestAddress[]> {
  const silent = silentUntil.get(connection) ?? new Map<string, number>();
  silentUntil.set(connection, silent);
  const asksAgent = agentConnected && (silent.get(dom.uuid) ?? 0) <= clock.monotonicMs();
  const asked = sources.filter(([name]) => name !== "agent" || asksAgent);
  const answers = await Promise.all(
    asked.map(async ([name, source]) => {
      const timeoutMs = name === "agent" ? { timeoutMs: agentDeadlineMs } : {};
      const { ifaces } = await remote
        .domainInterfaceAddresses({ dom, source }, { ...options, ...timeoutMs })
        .catch((error: unknown) => {
          // A source that knows nothing (no lease file, no agent, no ARP support) is an error to libvirt.
          if (isNotFound(error) || options.signal.aborted) throw error;
          if (error instanceof CallTimeoutError) silent.set(dom.uuid, clock.monotonicMs() + silentAgentPauseMs);
          return { ifaces: [] };
        });
      return addressesOf(ifaces, name);
    }),
  );
  return bestOf(answers.flat());
}

export function addressesOf(interfaces: readonly DomainInterface[], source: Source): GuestAddress[] {
  return interfaces.flatMap((each) => each.addrs.map((address) => addressOf(each.hwaddr, address, source)));
}

function addressOf(mac: string | null, address: { addr: string; prefix: number }, source: Source): GuestAddress {
  return {
    ...(mac === null ? {} : { mac: mac.toLowerCase() }),
    address: address.addr,
    // ARP does not know the network's size; libvirt reports 0.
    ...(address.prefix > 0 ? { prefixLength: address.prefix } : {}),
    source,
  };
}

function bestOf(addresses: readonly GuestAddress[]): GuestAddress[] {
  const best = new Map<string, GuestAddress>();
  for (const address of addresses) {
    if (isLoopback(address.address) || best.has(address.address)) continue;
    best.set(address.address, address);
  }
  return [...best.values()];
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
