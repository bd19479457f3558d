// One network: its definition, whether it runs, who is connected, and the addresses that its DHCP server has given out.
import { VIR_ERR_OPERATION_INVALID } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { element, type Element, elements, find } from "#xml/element.ts";
import { parse } from "#xml/parse.ts";
import { parseIpv4, type Subnet } from "./ipv4.ts";
import { factsOf, formatNetwork, networkError, type NetworkFacts, withPorts } from "./network-definition.ts";

/** A network card of a running guest. */
export interface Guest {
  readonly mac: string;
  readonly hostname: string | null;
}

export interface Lease {
  readonly mac: string;
  readonly address: number;
  readonly prefix: number;
  readonly hostname: string | null;
  /** Seconds since the epoch. */
  readonly expiresS: number;
}

/** dnsmasq's default (libvirt gives none). */
const LEASE_S = 3_600;

export class Network {
  /** What it is now; of one that does not run, what it would be. */
  #live: string;
  /** What it will be at its next start. */
  #next: string | undefined;
  #facts: NetworkFacts;
  isPersistent: boolean;
  isActive = false;
  isAutostart = false;
  readonly #addresses = new Map<string, number>();

  constructor(root: Element, isPersistent: boolean) {
    this.#live = formatNetwork(root);
    this.#facts = factsOf(root);
    this.isPersistent = isPersistent;
  }

  get facts(): NetworkFacts {
    return this.#facts;
  }

  get name(): string {
    return this.#facts.name;
  }

  get uuid(): string {
    return this.#facts.uuid;
  }

  /** A tree of the caller's own. */
  root(isNext: boolean): Element {
    return parse(isNext ? (this.#next ?? this.#live) : this.#live);
  }

  xml(isNext: boolean, connections: number): string {
    if (isNext || !this.isActive) return this.#next ?? this.#live;
    if (connections === 0) return this.#live;
    const { attributes, children } = parse(this.#live);
    return formatNetwork(element("network", { connections, ...Object.fromEntries(attributes) }, children));
  }

  /** While it runs a new definition waits for its next start. */
  redefine(root: Element): void {
    this.isPersistent = true;
    if (this.isActive) this.#next = formatNetwork(root);
    else this.#become(root);
  }

  edit(root: Element, what: { readonly live: boolean; readonly next: boolean }): void {
    if (what.next) this.#next = formatNetwork(root);
    if (what.live) this.#become(root);
    if (!this.isActive) this.#next = undefined;
  }

  start(): void {
    this.isActive = true;
    this.#next ??= this.#live;
    this.#become(withPorts(parse(this.#live)));
  }

  stop(): void {
    this.isActive = false;
    this.#addresses.clear();
    if (this.#next !== undefined) this.#become(parse(this.#next));
    this.#next = undefined;
  }

  requireActive(): void {
    if (!this.isActive) throw networkError(VIR_ERR_OPERATION_INVALID, `network '${this.name}' is not active`);
  }

  /** @param guests who is connected; their addresses stay as long as they are. */
  leases(guests: readonly Guest[], nowMs: number): Lease[] {
    const subnet = this.#facts.subnets.find(({ dhcp }) => dhcp !== undefined);
    if (subnet === undefined || !this.isActive) return [];
    const present = new Set(guests.map(({ mac }) => mac));
    for (const mac of this.#addresses.keys()) if (!present.has(mac)) this.#addresses.delete(mac);
    return guests.flatMap(({ mac, hostname }) => {
      const address = this.#addressOf(mac, subnet);
      if (address === undefined) return [];
      const expiresS = Math.floor(nowMs / 1000) + LEASE_S;
      return [{ mac, address, prefix: subnet.prefix, hostname, expiresS }];
    });
  }

  /** A reserved one, or the first that is free. undefined: all are given out. */
  #addressOf(mac: string, { dhcp }: Subnet): number | undefined {
    const known = this.#addresses.get(mac);
    if (known !== undefined || dhcp === undefined) return known;
    const hosts = elements(parse(this.#live), "ip").flatMap((ip) => elements(find(ip, "dhcp"), "host"));
    const reserved = new Map(
      hosts.map((host) => [host.attributes.get("mac"), parseIpv4(host.attributes.get("ip") ?? "")]),
    );
    const taken = new Set([...this.#addresses.values(), ...reserved.values()]);
    let address = reserved.get(mac);
    for (let free = dhcp.start; address === undefined && free <= dhcp.end; free += 1)
      if (!taken.has(free)) address = free;
    if (address !== undefined) this.#addresses.set(mac, address);
    return address;
  }

  #become(root: Element): void {
    this.#live = formatNetwork(root);
    this.#facts = factsOf(root);
  }
}
