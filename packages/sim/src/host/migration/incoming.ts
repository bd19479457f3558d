// The target's side of a migration: a guest that is not there yet, from the preparation until it runs or is given up
// (qemuMigrationDstPrepareAny, qemuMigrationDstFinish in libvirt 9.0 src/qemu/qemu_migration.c).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_NO_DOMAIN,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_SYSTEM_ERROR,
  VIR_FROM_DOMAIN,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { completeDefinition } from "#host/domain/definition.ts";
import { parseDocument } from "#xml/document.ts";
import { TextDocument } from "#host/domain/document.ts";
import type { Domains } from "#host/domain/domains.ts";
import { emit, occupy, stop } from "#host/domain/lifecycle.ts";
import { SimDomain } from "#host/domain/sim-domain.ts";
import { sourceOf } from "#host/domain/facts.ts";
import { attributeOf, elements, find, leaf, replaceChild, textOf } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";

/** migration_port_min and _max in qemu.conf. */
const FIRST_PORT = 49_152;
const PORTS = 64;

interface Ticket {
  readonly domain: SimDomain;
  /** Of the run that waits here. A guest that was destroyed meanwhile, or lost with the host's power, has another. */
  readonly id: number;
  arrival: Arrival | null;
  hasArrived: boolean;
  /** Its client's connection does not matter any more. */
  forgetClient: () => void;
}

/** What is prepared for whom. */
export interface Preparation {
  readonly name?: string | undefined;
  readonly isOffline: boolean;
  /** Targets of the disks that come over with the memory. */
  readonly copied: ReadonlySet<string>;
  /** The guest that waits goes with its client's connection (qemuProcessAutoDestroy); returns what takes that back. */
  readonly onClientLost?: (run: () => void) => () => void;
}

/** What comes over with the memory. */
export interface Arrival {
  readonly vcpuSeconds: number;
  readonly balloonKiB: number;
  /** Steady time of the guest's start. */
  readonly startedMs: number;
  readonly isPaused: boolean;
  /** What the target keeps as the guest's definition. */
  readonly persistent: Element | null;
}

export class IncomingMigrations {
  readonly #domains: Domains;
  readonly #tickets = new Map<number, Ticket>();
  /** Definitions that move without a guest, by name. */
  readonly #definitions = new Map<string, { readonly root: Element; forgetClient: () => void }>();

  constructor(domains: Domains) {
    this.#domains = domains;
  }

  /** Returns the port that the memory is to be sent to; of a move without memory 0. */
  prepare(xml: string, options: Preparation): number {
    const root = parseDocument(xml, "(domain_definition)", "domain");
    completeDefinition(root, this.#domains.context.random);
    if (options.name !== undefined) replaceChild(root, "name", leaf("name", options.name));
    const uuid = textOf(root, "uuid") ?? "";
    const name = textOf(root, "name") ?? "";
    this.#domains.refuseNamesake(uuid, name);
    const known = this.#domains.find(uuid);
    if (known?.isActive === true)
      throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN, `domain '${name}' is already active`);
    if (options.isOffline) {
      const definition = { root, forgetClient: nothing };
      this.#definitions.set(name, definition);
      const drop = (): void => void this.#definitions.delete(name);
      definition.forgetClient = options.onClientLost?.(drop) ?? nothing;
      return 0;
    }
    this.#refuseMissingDisks(root, options.copied);
    const port = this.#freePort();
    const document = new TextDocument(root);
    const domain = known ?? new SimDomain(this.#domains.context, uuid, name, document, false);
    if (known === undefined) this.#domains.add(domain);
    else domain.config = document;
    occupy(this.#domains, domain);
    domain.setState(lv.VIR_DOMAIN_PAUSED, lv.VIR_DOMAIN_PAUSED_MIGRATION);
    emit(this.#domains, domain, lv.VIR_DOMAIN_EVENT_STARTED, lv.VIR_DOMAIN_EVENT_STARTED_MIGRATED);
    const ticket = { domain, id: domain.id, arrival: null, hasArrived: false, forgetClient: nothing };
    this.#tickets.set(port, ticket);
    ticket.forgetClient = options.onClientLost?.(() => this.#loseClient(port, ticket)) ?? nothing;
    return port;
  }

  /** All of its memory is here: it is ready to run. */
  receive(port: number, arrival: Arrival): void {
    this.#require(port).arrival = arrival;
  }

  /** The guest runs here from now on. */
  resume(port: number): SimDomain {
    const ticket = this.#require(port);
    const { domain, arrival } = ticket;
    if (ticket.hasArrived) return domain;
    if (arrival === null)
      throw new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "the guest's memory has not arrived");
    ticket.hasArrived = true;
    domain.resetCounters(arrival.vcpuSeconds);
    const { balloonKiB, startedMs } = arrival;
    const agentFromMs = this.#domains.context.clock.steadyMs();
    if (domain.run !== null) domain.run = { ...domain.run, balloonKiB, startedMs, agentFromMs };
    if (arrival.persistent !== null) this.#persist(domain, arrival.persistent);
    const state = arrival.isPaused ? lv.VIR_DOMAIN_PAUSED : lv.VIR_DOMAIN_RUNNING;
    domain.setState(state, arrival.isPaused ? lv.VIR_DOMAIN_PAUSED_USER : lv.VIR_DOMAIN_RUNNING_MIGRATED);
    if (arrival.isPaused)
      emit(this.#domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, lv.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    else emit(this.#domains, domain, lv.VIR_DOMAIN_EVENT_RESUMED, lv.VIR_DOMAIN_EVENT_RESUMED_MIGRATED);
    return domain;
  }

  /** The last phase: the guest runs here, or its definition alone has come. */
  finish(name: string): SimDomain {
    const definition = this.#takeDefinition(name);
    if (definition !== undefined) return this.#define(definition);
    const port = this.#portOf(name);
    if (port === undefined)
      throw new SimError(VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, `no domain with matching name '${name}'`);
    const domain = this.resume(port);
    this.#forget(port);
    return domain;
  }

  /** It does not come. False: nobody was waited for. */
  giveUp(name: string): boolean {
    const definition = this.#takeDefinition(name);
    const port = this.#portOf(name);
    if (port === undefined) return definition !== undefined;
    const { domain } = this.#require(port);
    this.#forget(port);
    stop(this.#domains, domain, lv.VIR_DOMAIN_SHUTOFF_FAILED, lv.VIR_DOMAIN_EVENT_STOPPED_FAILED);
    return true;
  }

  /** A guest that runs here already (post-copy) stays. */
  #loseClient(port: number, { domain, id, hasArrived }: Ticket): void {
    this.#tickets.delete(port);
    if (domain.id !== id || hasArrived) return;
    stop(this.#domains, domain, lv.VIR_DOMAIN_SHUTOFF_DESTROYED, lv.VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
  }

  #takeDefinition(name: string): Element | undefined {
    const found = this.#definitions.get(name);
    found?.forgetClient();
    this.#definitions.delete(name);
    return found?.root;
  }

  #portOf(name: string): number | undefined {
    return [...this.#tickets.keys()].find((port) => this.#find(port)?.domain.name === name);
  }

  #find(port: number): Ticket | undefined {
    const ticket = this.#tickets.get(port);
    if (ticket === undefined || ticket.domain.id === ticket.id) return ticket;
    this.#forget(port);
    return undefined;
  }

  #forget(port: number): void {
    this.#tickets.get(port)?.forgetClient();
    this.#tickets.delete(port);
  }

  #define(root: Element): SimDomain {
    const uuid = textOf(root, "uuid") ?? "";
    const known = this.#domains.find(uuid);
    const domain =
      known ?? new SimDomain(this.#domains.context, uuid, textOf(root, "name") ?? "", new TextDocument(root), true);
    if (known === undefined) this.#domains.add(domain);
    this.#persist(domain, root);
    return domain;
  }

  #persist(domain: SimDomain, root: Element): void {
    const detail =
      domain.isPersistent && domain.isActive ? lv.VIR_DOMAIN_EVENT_DEFINED_UPDATED : lv.VIR_DOMAIN_EVENT_DEFINED_ADDED;
    if (domain.run !== null && domain.run.document === null) domain.run.document = domain.config;
    domain.config = new TextDocument(root);
    domain.isPersistent = true;
    emit(this.#domains, domain, lv.VIR_DOMAIN_EVENT_DEFINED, detail);
  }

  #require(port: number): Ticket {
    const ticket = this.#find(port);
    if (ticket === undefined) throw new SimError(VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "no domain is being migrated here");
    return ticket;
  }

  #freePort(): number {
    for (let port = FIRST_PORT; port < FIRST_PORT + PORTS; port += 1) if (this.#find(port) === undefined) return port;
    throw new SimError(
      VIR_ERR_OPERATION_FAILED,
      VIR_FROM_QEMU,
      `Unable to find an unused port in range 'migration' (${FIRST_PORT}-${FIRST_PORT + PORTS - 1})`,
    );
  }

  #refuseMissingDisks(root: Element, copied: ReadonlySet<string>): void {
    for (const disk of elements(find(root, "devices"), "disk")) {
      const source = sourceOf(disk);
      const isKept =
        source?.startsWith("/") === true &&
        !source.startsWith("/dev/") &&
        !copied.has(attributeOf(disk, "target", "dev") ?? "");
      if (!isKept || source === undefined || this.#domains.context.disks.find(source) !== undefined) continue;
      throw new SimError(
        VIR_ERR_SYSTEM_ERROR,
        VIR_FROM_QEMU,
        `Cannot access storage file '${source}' (as uid:64055, gid:64055): No such file or directory`,
      );
    }
  }
}

function nothing(): void {}
