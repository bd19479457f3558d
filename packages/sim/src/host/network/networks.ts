// The networks of one host (libvirt 9.0 src/network/bridge_driver.c, src/conf/virnetworkobj.c).
import {
  VIR_NETWORK_EVENT_DEFINED,
  VIR_NETWORK_EVENT_STARTED,
  VIR_NETWORK_EVENT_STOPPED,
  VIR_NETWORK_EVENT_UNDEFINED,
  VIR_NETWORK_UPDATE_AFFECT_CONFIG,
  VIR_NETWORK_UPDATE_AFFECT_LIVE,
} from "@innkeeper/libvirt/generated/network-constant.ts";
import {
  VIR_ERR_INTERNAL_ERROR,
  VIR_ERR_NO_NETWORK,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
  VIR_FROM_NONE,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import type { HostContext } from "#host/context.ts";
import type { Element } from "#xml/element.ts";
import { overlap } from "./ipv4.ts";
import { factsOf, networkError, readNetwork } from "./network-definition.ts";
import { type Update, updateNetwork } from "./network-update.ts";
import { type Guest, Network } from "./network.ts";

export class Networks {
  readonly #context: HostContext;
  readonly #networks = new Map<string, Network>();
  readonly #guestsOn: (network: string) => readonly Guest[];

  /** @param guestsOn who is connected to the network of a name. */
  constructor(context: HostContext, guestsOn: (network: string) => readonly Guest[]) {
    this.#context = context;
    this.#guestsOn = guestsOn;
  }

  guestsOn({ name }: Network): readonly Guest[] {
    return this.#guestsOn(name);
  }

  get all(): readonly Network[] {
    return [...this.#networks.values()];
  }

  /** @param name as the client knows it, for the error. */
  byUuid(uuid: string, name?: string): Network {
    const network = this.#networks.get(uuid);
    if (network !== undefined) return network;
    const who = name === undefined ? `'${uuid}'` : `'${uuid}' (${name})`;
    throw networkError(VIR_ERR_NO_NETWORK, `no network with matching uuid ${who}`);
  }

  byName(name: string): Network {
    const network = this.find(name);
    if (network === undefined) throw networkError(VIR_ERR_NO_NETWORK, `no network with matching name '${name}'`);
    return network;
  }

  find(name: string): Network | undefined {
    return this.all.find((each) => each.name === name);
  }

  define(xml: string): Network {
    const root = this.#read(xml);
    const known = this.#known(root, false);
    known?.redefine(root);
    const network = known ?? this.#add(root, true);
    this.#tell(network, VIR_NETWORK_EVENT_DEFINED);
    return network;
  }

  /** A network that is gone when it stops. */
  create(xml: string): Network {
    const root = this.#read(xml);
    const network = this.#known(root, true) ?? this.#add(root, false);
    try {
      this.#bringUp(network);
    } catch (error) {
      this.#drop(network);
      throw error;
    }
    this.#tell(network, VIR_NETWORK_EVENT_STARTED);
    return network;
  }

  start(network: Network): void {
    if (network.isActive) throw networkError(VIR_ERR_OPERATION_INVALID, "network is already active");
    this.#bringUp(network);
    this.#tell(network, VIR_NETWORK_EVENT_STARTED);
  }

  destroy(network: Network): void {
    network.requireActive();
    network.stop();
    this.#tell(network, VIR_NETWORK_EVENT_STOPPED);
    this.#drop(network);
  }

  /** One that runs goes on, and is gone when it stops. */
  undefine(network: Network): void {
    if (!network.isPersistent) throw networkError(VIR_ERR_OPERATION_INVALID, "can't undefine transient network");
    network.isPersistent = false;
    network.isAutostart = false;
    this.#tell(network, VIR_NETWORK_EVENT_UNDEFINED);
    if (!network.isActive) this.#drop(network);
  }

  setAutostart(network: Network, isAutostart: boolean): void {
    if (!network.isPersistent)
      throw networkError(VIR_ERR_OPERATION_INVALID, "cannot set autostart for transient network");
    network.isAutostart = isAutostart;
  }

  /** What the daemon does when the host has booted. */
  autostart(): void {
    for (const network of this.all) if (network.isAutostart && !network.isActive) this.start(network);
  }

  /** The machine loses its power: nobody is told. */
  powerOff(): void {
    for (const network of this.all.filter(({ isActive }) => isActive)) {
      network.stop();
      this.#drop(network);
    }
  }

  /** `flags` as virNetworkUpdateFlags. */
  update(network: Network, update: Update, flags: number): void {
    const live = (flags & VIR_NETWORK_UPDATE_AFFECT_LIVE) !== 0 || (flags === 0 && network.isActive);
    const next = (flags & VIR_NETWORK_UPDATE_AFFECT_CONFIG) !== 0 || (flags === 0 && !network.isActive);
    if (live && !network.isActive) throw networkError(VIR_ERR_OPERATION_INVALID, "network is not running");
    if (next && !network.isPersistent) {
      const detail = "cannot change persistent config of a transient network";
      throw networkError(VIR_ERR_OPERATION_INVALID, detail);
    }
    const edited = [
      { isWanted: next, root: network.root(true), what: { live: !network.isActive, next: network.isActive } },
      { isWanted: live, root: network.root(false), what: { live: true, next: false } },
    ].filter(({ isWanted }) => isWanted);
    for (const { root } of edited) updateNetwork(root, network.name, update);
    for (const { root, what } of edited) network.edit(root, what);
  }

  #read(xml: string): Element {
    return readNetwork(xml, this.#context.random, () => this.#freeBridge());
  }

  #freeBridge(): string {
    const taken = new Set(this.all.map(({ facts }) => facts.bridge));
    for (let number = 0; ; number += 1) if (!taken.has(`virbr${number}`)) return `virbr${number}`;
  }

  /** The network that a definition is of, if there is one; refuses what would collide (virNetworkObjIsDuplicate). */
  #known(root: Element, isStart: boolean): Network | undefined {
    const { name, uuid, bridge, mode } = factsOf(root);
    const known = this.#networks.get(uuid);
    if (known !== undefined && known.name !== name)
      throw networkError(VIR_ERR_OPERATION_FAILED, `network '${known.name}' is already defined with uuid ${uuid}`);
    if (known !== undefined && isStart && known.isActive)
      throw networkError(VIR_ERR_OPERATION_INVALID, `network is already active as '${known.name}'`);
    const namesake = this.all.find((each) => each.name === name && each.uuid !== uuid);
    if (namesake !== undefined)
      throw networkError(VIR_ERR_OPERATION_FAILED, `network '${name}' already exists with uuid ${namesake.uuid}`);
    const isOwn = mode !== "bridge";
    if (isOwn && this.all.some((each) => each.uuid !== uuid && each.facts.bridge === bridge && bridge !== undefined))
      throw networkError(VIR_ERR_INTERNAL_ERROR, `bridge name '${bridge ?? ""}' already in use.`);
    return known;
  }

  /** Two networks of one host can't have the same addresses (networkCheckRouteCollision). */
  #bringUp(network: Network): void {
    const others = this.all.filter((each) => each !== network && each.isActive);
    for (const other of others) {
      const collides = other.facts.subnets.some((theirs) =>
        network.facts.subnets.some((ours) => overlap(theirs, ours)),
      );
      if (!collides) continue;
      const detail = `Network is already in use by interface ${other.facts.bridge ?? ""}`;
      throw new SimError(VIR_ERR_INTERNAL_ERROR, VIR_FROM_NONE, detail);
    }
    network.start();
  }

  #add(root: Element, isPersistent: boolean): Network {
    const network = new Network(root, isPersistent);
    this.#networks.set(network.uuid, network);
    return network;
  }

  #drop(network: Network): void {
    if (!network.isPersistent) this.#networks.delete(network.uuid);
  }

  #tell({ name, uuid }: Network, event: number): void {
    this.#context.events.network("lifecycle", { net: { name, uuid }, event, detail: 0 });
  }
}
