// The target's side of a migration: a guest that is not there yet, from the preparation until it runs or is given up
// (qemuMigrationDstPrepareAny, qemuMigrationDstFinish in libvirt 9.0 src/qemu/qemu_migration.c).
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_NO_DOMAIN,
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_SYSTEM_ERROR,
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
  arrival: Arrival | null;
  hasArrived: boolean;
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
  readonly #definitions = new Map<string, Element>();

  constructor(domains: Domains) {
    this.#domains = domains;
  }

  /** Returns the port that the memory is to be sent to; of a move without memory 0. */
  prepare(
    xml: string,
    options: { readonly name?: string | undefined; readonly isOffline: boolean; readonly copied: ReadonlySet<string> },
  ): number {
    const root = parseDocument(xml, "(domain_definition)", "domain");
    completeDefinition(root, this.#domains.context.random);
    if (options.name !== undefined) replaceChild(root, "name", leaf("name", options.name));
    const uuid = textOf(root, "uuid") ?? "";
    const name = textOf(root, "name") ?? "";
    this.#domains.refuseNamesake(uuid, name);
    const known = this.#domains.find(uuid);
    if (known?.isActive === true)
      throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, `domain '${name}' is already active`);
    if (options.isOffline) {
      this.#definitions.set(name, root);
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
    this.#tickets.set(port, { domain, arrival: null, hasArrived: false });
    return port;
  }

  portOf(name: string): number | undefined {
    for (const [port, { domain }] of this.#tickets) if (domain.name === name) return port;
    return undefined;
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
    const definition = this.#definitions.get(name);
    this.#definitions.delete(name);
    if (definition !== undefined) return this.#define(definition);
    const port = this.portOf(name);
    if (port === undefined)
      throw new SimError(VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, `no domain with matching name '${name}'`);
    const domain = this.resume(port);
    this.#tickets.delete(port);
    return domain;
  }

  /** It does not come. */
  giveUp(name: string): void {
    this.#definitions.delete(name);
    const port = this.portOf(name);
    const ticket = port === undefined ? undefined : this.#tickets.get(port);
    if (port === undefined || ticket === undefined) return;
    this.#tickets.delete(port);
    stop(this.#domains, ticket.domain, lv.VIR_DOMAIN_SHUTOFF_FAILED, lv.VIR_DOMAIN_EVENT_STOPPED_FAILED);
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
    const ticket = this.#tickets.get(port);
    if (ticket === undefined) throw new SimError(VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "no domain is being migrated here");
    return ticket;
  }

  #freePort(): number {
    for (let port = FIRST_PORT; port < FIRST_PORT + PORTS; port += 1) if (!this.#tickets.has(port)) return port;
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
