// How the hosts of a fleet reach one another: who is at an address, whose cables are out, and who hears of it when a way
// breaks while something is under way.
import { VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { parseUri } from "@innkeeper/libvirt/transport/uri.ts";
import { SimError } from "#error.ts";
import { unreachable } from "#host/migration/no-peers.ts";
import type { MigrationPeer, Peers } from "#host/migration/outgoing.ts";
import type { SimHost } from "#host/sim-host.ts";

export class Wire {
  readonly #byName = new Map<string, SimHost>();
  readonly #byAddress = new Map<string, SimHost>();
  /** Pairs of names between which nothing passes, smaller first. */
  readonly #cuts = new Set<string>();
  /** Ways in use: told when they break. */
  readonly #ways = new Map<AbortController, readonly [from: SimHost, to: SimHost]>();

  add(host: SimHost): void {
    this.#byName.set(host.name, host);
  }

  /** @param address "127.64.0.1", or a socket's path. */
  listens(host: SimHost, address: string): void {
    this.#byAddress.set(address, host);
  }

  /** @param bandwidthBytesPerS of the host's cable. */
  peersOf(name: string, bandwidthBytesPerS: number): Peers {
    return {
      bandwidthBytesPerS,
      daemon: (uri) => this.#peer(name, this.#hostAt(uri), uri),
      memory: (uri) => this.#memory(name, uri),
    };
  }

  cut(one: string, other: string): void {
    this.#cuts.add(pair(one, other));
    this.checkWays();
  }

  heal(one: string, other?: string): void {
    for (const cut of this.#cuts)
      if (other === undefined ? cut.split(" ").includes(one) : cut === pair(one, other)) this.#cuts.delete(cut);
  }

  /** Breaks what goes over ways that are no more. */
  checkWays(): void {
    for (const [way, [from, to]] of this.#ways) {
      if (this.#isOpen(from, to)) continue;
      this.#ways.delete(way);
      way.abort();
    }
  }

  #hostAt(uriText: string): SimHost | undefined {
    const uri = parseUri(uriText);
    const socket = uri.parameters.get("socket");
    if (socket !== undefined) return this.#byAddress.get(socket);
    const { host, port } = uri;
    return this.#byAddress.get(`${host}:${port}`) ?? this.#byAddress.get(host) ?? this.#byName.get(host);
  }

  #memory(from: string, uri: string): { peer: MigrationPeer; port: number } {
    const match = /^tcp:(?:\/\/)?\[?([^\]/]+?)\]?:(\d+)$/u.exec(uri);
    const name = match?.[1] ?? "";
    const host = this.#byName.get(name) ?? this.#byAddress.get(name);
    if (match === null || host === undefined)
      throw new SimError(
        VIR_ERR_OPERATION_FAILED,
        VIR_FROM_QEMU,
        `unable to resolve address '${name}' service: Name or service not known`,
      );
    return { peer: this.#peer(from, host, uri), port: Number(match[2]) };
  }

  #peer(fromName: string, to: SimHost | undefined, uri: string): MigrationPeer {
    const from = this.#byName.get(fromName);
    if (from === undefined || to === undefined || !this.#isOpen(from, to)) throw unreachable(uri);
    const way = new AbortController();
    this.#ways.set(way, [from, to]);
    const { name, incoming } = to;
    return { name, incoming, lost: way.signal, [Symbol.dispose]: () => void this.#ways.delete(way) };
  }

  #isOpen(from: SimHost, to: SimHost): boolean {
    if (from.faults.isOff || to.faults.isOff || from.faults.isIsolated || to.faults.isIsolated) return false;
    return !this.#cuts.has(pair(from.name, to.name));
  }
}

function pair(one: string, other: string): string {
  return [one, other].sort().join(" ");
}
