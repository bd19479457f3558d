// All domains of a host, and what the host gives out to those that run: ids, display ports, network devices, terminals.
import {
  VIR_ERR_INVALID_ARG,
  VIR_ERR_NO_DOMAIN,
  VIR_ERR_OPERATION_FAILED,
  VIR_FROM_DOMAIN,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { NonnullDomain } from "@innkeeper/libvirt/generated/remote-type.ts";
import { SimError } from "#error.ts";
import type { HostContext } from "#host/context.ts";
import type { SavedImage, SimDomain } from "./sim-domain.ts";

export interface DomainTiming {
  /** What QEMU needs to come up. */
  readonly startMs: number;
  /** From the start until the guest's agent answers. */
  readonly bootMs: number;
  /** From the power button until the guest is off. */
  readonly shutdownMs: number;
}

export const PROMPT: DomainTiming = { startMs: 0, bootMs: 3_000, shutdownMs: 1_000 };

export class Domains {
  readonly context: HostContext;
  readonly timing: DomainTiming;
  /** Guests' memory in files that the client named, by path. */
  readonly savedImages = new Map<string, SavedImage>();
  readonly #byUuid = new Map<string, SimDomain>();
  /** Work of guests that are gone: the host's own counters do not go back. */
  retiredVcpuSeconds = 0;
  #lastId = 0;
  #nextVnet = 0;
  #nextPty = 0;

  constructor(context: HostContext, timing: DomainTiming = PROMPT) {
    this.context = context;
    this.timing = timing;
  }

  get all(): Iterable<SimDomain> {
    return this.#byUuid.values();
  }

  add(domain: SimDomain): void {
    this.#byUuid.set(domain.uuid, domain);
  }

  remove(domain: SimDomain): void {
    if (this.#byUuid.get(domain.uuid) === domain) this.#byUuid.delete(domain.uuid);
  }

  find(uuid: string): SimDomain | undefined {
    return this.#byUuid.get(uuid);
  }

  named(name: string): SimDomain | undefined {
    for (const domain of this.#byUuid.values()) if (domain.name === name) return domain;
    return undefined;
  }

  /** By a client's reference, of which the UUID counts (qemuDomainObjFromDomain). */
  require({ uuid, name }: NonnullDomain): SimDomain {
    const domain = this.#byUuid.get(uuid);
    if (domain === undefined) throw noDomain(`no domain with matching uuid '${uuid}' (${name})`);
    return domain;
  }

  byName(name: string): SimDomain {
    const domain = this.named(name);
    if (domain === undefined) throw noDomain(`no domain with matching name '${name}'`);
    return domain;
  }

  byUuid(uuid: string): SimDomain {
    const domain = this.#byUuid.get(uuid);
    if (domain === undefined) throw noDomain(`no domain with matching uuid '${uuid}'`);
    return domain;
  }

  byId(id: number): SimDomain {
    for (const domain of this.#byUuid.values()) if (domain.isActive && domain.id === id) return domain;
    throw noDomain(`no domain with matching id ${id}`);
  }

  /** A name belongs to one UUID and a UUID to one name (virDomainObjListAddLocked). */
  refuseNamesake(uuid: string, name: string): void {
    const known = this.#byUuid.get(uuid);
    if (known !== undefined && known.name !== name)
      throw failed(`domain '${known.name}' is already defined with uuid ${uuid}`);
    const namesake = this.named(name);
    if (namesake !== undefined && namesake.uuid !== uuid)
      throw failed(`domain '${name}' already exists with uuid ${namesake.uuid}`);
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  takeVnets(count: number): number {
    const first = this.#nextVnet;
    this.#nextVnet += count;
    return first;
  }

  takePtys(count: number): number {
    const first = this.#nextPty;
    this.#nextPty += count;
    return first;
  }

  /** The lowest that is free (remote_display_port_min in qemu.conf). */
  freeDisplayPort(): number {
    const taken = new Set<number>();
    for (const { run } of this.#byUuid.values()) if (run !== null) taken.add(run.displayPort);
    let port = 5_900;
    while (taken.has(port)) port += 1;
    return port;
  }
}

function noDomain(detail: string): SimError {
  return new SimError(VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, detail);
}

function failed(detail: string): SimError {
  return new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_DOMAIN, detail);
}

export function invalidArgument(detail: string): SimError {
  return new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, detail);
}
