// The source's side of a migration: begin, send, hand over, confirm (libvirt 9.0 src/qemu/qemu_migration.c). Peer to peer
// the source does it all; otherwise a client leads both sides through the phases.
import * as lv from "@innkeeper/libvirt/generated/domain-constant.ts";
import {
  VIR_ERR_OPERATION_FAILED,
  VIR_ERR_OPERATION_INVALID,
  VIR_ERR_OVERFLOW,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { TypedParameters } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import { SimError } from "#error.ts";
import { checkAbi, completeDefinition } from "#host/domain/definition.ts";
import { parseDocument } from "#xml/document.ts";
import type { Domains } from "#host/domain/domains.ts";
import type { DomainJob } from "#host/domain/job.ts";
import { emit, stop } from "#host/domain/lifecycle.ts";
import { stripLive } from "#host/domain/live.ts";
import { hashFraction } from "#host/random.ts";
import type { SimDomain } from "#host/domain/sim-domain.ts";
import type { Element } from "#xml/element.ts";
import { format, leaf, replaceChild } from "#xml/element.ts";
import type { IncomingMigrations } from "./incoming.ts";
import { Transfer } from "./transfer.ts";

/** The other host, as far as a migration needs it, until it is disposed of. */
export interface MigrationPeer extends Disposable {
  readonly name: string;
  readonly incoming: IncomingMigrations;
  /** Aborts when the way to it breaks, or one of the two hosts dies. */
  readonly lost: AbortSignal;
}

/** How hosts reach one another. Throws libvirt's own error when they can't. */
export interface Peers {
  /** By the URI of its daemon. */
  daemon(uri: string): MigrationPeer;
  /** By the address that memory is sent to: "tcp:host:49152". */
  memory(uri: string): { readonly peer: MigrationPeer; readonly port: number };
  /** What this host sends per second at most. */
  readonly bandwidthBytesPerS: number;
}

const DEFAULT_DOWNTIME_MS = 300;
/** QEMU_DOMAIN_MIG_BANDWIDTH_MAX, src/qemu/qemu_domain.h: what 63 bits of bytes are. */
const MAX_SPEED_MIB = 8_796_093_022_207;

export interface MigrationArgs {
  readonly flags: number;
  readonly params: TypedParameters;
}

function text(params: TypedParameters, name: string): string | undefined {
  const value = params[name];
  return typeof value === "string" ? value : undefined;
}

export class OutgoingMigrations {
  readonly #domains: Domains;
  readonly peers: Peers;
  readonly #maxDowntimeMs = new WeakMap<SimDomain, number>();
  readonly #maxSpeedMiBps = new WeakMap<SimDomain, number>();

  constructor(domains: Domains, peers: Peers) {
    this.#domains = domains;
    this.peers = peers;
  }

  /** The definition that the target is to start: the guest's own, or the client's when it describes the same guest. */
  begin(domain: SimDomain, { flags, params }: MigrationArgs): string {
    const isOffline = (flags & lv.VIR_MIGRATE_OFFLINE) !== 0;
    if (isOffline && (flags & (lv.VIR_MIGRATE_NON_SHARED_DISK | lv.VIR_MIGRATE_NON_SHARED_INC)) !== 0)
      throw invalid("offline migration cannot handle non-shared storage");
    if (!isOffline) domain.requireActive();
    if (domain.job !== null)
      throw new SimError(
        VIR_ERR_OPERATION_FAILED,
        VIR_FROM_QEMU,
        "another migration job is already running for this domain",
      );
    if (domain.snapshotCount > 0)
      throw new SimError(
        VIR_ERR_OPERATION_INVALID,
        VIR_FROM_QEMU,
        `cannot migrate domain with ${domain.snapshotCount} snapshots`,
      );
    if ((flags & lv.VIR_MIGRATE_PERSIST_DEST) !== 0 && !domain.isPersistent && isOffline)
      throw invalid("cannot migrate transient domain offline");
    const own = this.#migratable(domain);
    const wanted = text(params, lv.VIR_MIGRATE_PARAM_DEST_XML);
    if (wanted === undefined) return format(own);
    const root = parseDocument(wanted, "(domain_definition)", "domain");
    completeDefinition(root, this.#domains.context.random);
    checkAbi(own, root);
    return format(root);
  }

  #migratable(domain: SimDomain): Element {
    if (!domain.isActive) return domain.config.root();
    const root = domain.liveRoot();
    stripLive(root);
    return root;
  }

  /** All of it, led by this host. */
  async peerToPeer(domain: SimDomain, uri: string, args: MigrationArgs): Promise<void> {
    // libvirt connects before it looks at what it is to send.
    using peer = this.peers.daemon(uri);
    const xml = this.begin(domain, args);
    const isOffline = (args.flags & lv.VIR_MIGRATE_OFFLINE) !== 0;
    const name = text(args.params, lv.VIR_MIGRATE_PARAM_DEST_NAME);
    const port = peer.incoming.prepare(xml, { name, isOffline, copied: copiedDisks(domain, args) });
    const there = name ?? domain.name;
    try {
      if (!isOffline) await this.send(domain, peer, port, args);
    } catch (error) {
      peer.incoming.giveUp(there);
      throw error;
    }
    peer.incoming.finish(there);
    this.confirm(domain, args, false);
  }

  /** Sends the memory; resolves with the guest standing still here and ready to run there (after post-copy: running). */
  async send(domain: SimDomain, peer: MigrationPeer, port: number, args: MigrationArgs): Promise<void> {
    if (peer.lost.aborted)
      throw new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "migration out job: the destination is gone");
    const transfer = this.#transfer(domain, args);
    const onLost = (): void => transfer.fail("connection to the destination was lost");
    peer.lost.addEventListener("abort", onLost, { once: true });
    const wasPaused = domain.isPaused;
    const { id } = domain;
    domain.job = jobOf(transfer, this.peers.bandwidthBytesPerS);
    try {
      const how = await transfer.untilSwitch();
      const isPostCopy = how === "post-copy";
      domain.requireRun(id);
      this.#pause(domain, wasPaused, isPostCopy);
      if (!isPostCopy) await transfer.finish();
      const run = domain.requireRun(id);
      const persistent = this.#persistent(domain, args);
      const { balloonKiB, startedMs } = run;
      const vcpuSeconds = domain.vcpuSeconds();
      peer.incoming.receive(port, { vcpuSeconds, balloonKiB, startedMs, isPaused: wasPaused, persistent });
      if (isPostCopy) {
        peer.incoming.resume(port);
        await transfer.follow();
      }
      const params = { operation: lv.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, ...transfer.figures() };
      domain.lastJob = { type: lv.VIR_DOMAIN_JOB_COMPLETED, params };
    } catch (error) {
      if (!transfer.isPostCopy && domain.id === id) this.#goOn(domain, wasPaused);
      throw error;
    } finally {
      peer.lost.removeEventListener("abort", onLost);
      if (domain.id === id) domain.job = null;
    }
  }

  #transfer(domain: SimDomain, args: MigrationArgs): Transfer {
    const { clock, events } = this.#domains.context;
    const limit = (Number(args.params[lv.VIR_MIGRATE_PARAM_BANDWIDTH] ?? 0) || this.maxSpeed(domain)) * 1_048_576;
    return new Transfer(
      clock,
      {
        memoryBytes: memoryBytesOf(domain),
        diskBytes: diskBytesOf(this.#domains, domain, args),
        bandwidthBytesPerS: Math.min(limit, this.peers.bandwidthBytesPerS),
        maxDowntimeMs: this.#maxDowntimeMs.get(domain) ?? DEFAULT_DOWNTIME_MS,
        isAutoConverge: (args.flags & lv.VIR_MIGRATE_AUTO_CONVERGE) !== 0,
        dirtyBytesPerS: () => dirtyBytesPerS(domain),
      },
      (iteration) => events.domain("migrationIteration", { dom: domain.ref, iteration }),
    );
  }

  /** The guest runs there: it is gone here. Or (cancelled) it goes on here. */
  confirm(domain: SimDomain, args: MigrationArgs, isCancelled: boolean): void {
    if (isCancelled) {
      if (domain.reason === lv.VIR_DOMAIN_PAUSED_MIGRATION) this.#goOn(domain, false);
      return;
    }
    const { ref } = domain;
    const isGone = (args.flags & lv.VIR_MIGRATE_UNDEFINE_SOURCE) !== 0 && domain.isPersistent;
    if (!domain.isActive || (args.flags & lv.VIR_MIGRATE_OFFLINE) !== 0) {
      if (isGone && !domain.isActive) this.#forget(domain);
      return;
    }
    stop(this.#domains, domain, lv.VIR_DOMAIN_SHUTOFF_MIGRATED, lv.VIR_DOMAIN_EVENT_STOPPED_MIGRATED);
    const params = domain.lastJob?.params ?? {};
    this.#domains.context.events.domain("jobCompleted", { dom: ref, params: params as TypedParameters });
    if (isGone) this.#forget(domain);
  }

  /** The client that led it is gone while the memory is being sent: no (qemuMigrationAnyConnectionClosed). */
  loseClient(domain: SimDomain): void {
    try {
      domain.job?.abort();
    } catch {
      // In post-copy there is no way back.
    }
  }

  setMaxDowntime(domain: SimDomain, downtimeMs: number): void {
    domain.requireActive();
    this.#maxDowntimeMs.set(domain, downtimeMs);
    domain.job?.setMaxDowntimeMs?.(downtimeMs);
  }

  maxDowntime(domain: SimDomain): number {
    domain.requireActive();
    return this.#maxDowntimeMs.get(domain) ?? DEFAULT_DOWNTIME_MS;
  }

  /** Of the migration under way, and of later ones that name none of their own. */
  setMaxSpeed(domain: SimDomain, mibPerS: number): void {
    if (mibPerS > MAX_SPEED_MIB)
      throw new SimError(VIR_ERR_OVERFLOW, VIR_FROM_QEMU, `bandwidth must be less than ${MAX_SPEED_MIB + 1}`);
    this.#maxSpeedMiBps.set(domain, mibPerS);
    domain.job?.setBandwidthMiBps?.(mibPerS);
  }

  maxSpeed(domain: SimDomain): number {
    return this.#maxSpeedMiBps.get(domain) ?? MAX_SPEED_MIB;
  }

  /** null: none. */
  #persistent(domain: SimDomain, { flags, params }: MigrationArgs): Element | null {
    if ((flags & lv.VIR_MIGRATE_PERSIST_DEST) === 0) return null;
    const xml = text(params, lv.VIR_MIGRATE_PARAM_PERSIST_XML);
    const root =
      xml === undefined
        ? domain.isPersistent
          ? domain.config.root()
          : this.#migratable(domain)
        : parseDocument(xml, "(domain_definition)", "domain");
    if (xml !== undefined) completeDefinition(root, this.#domains.context.random);
    const name = text(params, lv.VIR_MIGRATE_PARAM_DEST_NAME);
    if (name !== undefined) replaceChild(root, "name", leaf("name", name));
    return root;
  }

  #pause(domain: SimDomain, wasPaused: boolean, isPostCopy: boolean): void {
    const reason = isPostCopy ? lv.VIR_DOMAIN_PAUSED_POSTCOPY : lv.VIR_DOMAIN_PAUSED_MIGRATION;
    domain.setState(lv.VIR_DOMAIN_PAUSED, reason);
    const detail = isPostCopy ? lv.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY : lv.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED;
    if (!wasPaused) emit(this.#domains, domain, lv.VIR_DOMAIN_EVENT_SUSPENDED, detail);
  }

  /** It was not to be: the guest runs on here. */
  #goOn(domain: SimDomain, wasPaused: boolean): void {
    if (!domain.isActive || wasPaused || !domain.isPaused) return;
    domain.setState(lv.VIR_DOMAIN_RUNNING, lv.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED);
    emit(this.#domains, domain, lv.VIR_DOMAIN_EVENT_RESUMED, lv.VIR_DOMAIN_EVENT_RESUMED_MIGRATED);
  }

  /** libvirt 9.0 tells nobody that the definition is gone (measured by the conformance suite). */
  #forget(domain: SimDomain): void {
    domain.isPersistent = false;
    this.#domains.remove(domain);
  }
}

function invalid(detail: string): SimError {
  return new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, detail);
}

function jobOf(transfer: Transfer, wireBytesPerS: number): DomainJob {
  return {
    operation: lv.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
    stats: () => ({
      type: lv.VIR_DOMAIN_JOB_UNBOUNDED,
      params: { operation: lv.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, ...transfer.figures() },
    }),
    abort: () => transfer.abort(),
    setMaxDowntimeMs: (value) => void (transfer.maxDowntimeMs = value),
    setBandwidthMiBps: (value) =>
      void (transfer.bandwidthBytesPerS = Math.min(wireBytesPerS, Math.max(1, value) * 1_048_576)),
    startPostCopy: () => transfer.startPostCopy(),
  };
}

/** What of a guest's memory is sent: what it has touched; empty pages cost next to nothing. */
function memoryBytesOf(domain: SimDomain): number {
  const run = domain.requireActive();
  return run.balloonKiB * 1024 * domain.curve.memory(0) * 1.4;
}

/** A busy guest changes some tens of megabytes a second and vCPU. */
function dirtyBytesPerS(domain: SimDomain): number {
  const perVcpu = 20_000_000 + 60_000_000 * hashFraction(domain.uuid, "dirty");
  return domain.load() * domain.facts.vcpus * perVcpu;
}

/** Targets of the disks that go over with the memory. */
export function copiedDisks(domain: SimDomain, { flags, params }: MigrationArgs): ReadonlySet<string> {
  if ((flags & (lv.VIR_MIGRATE_NON_SHARED_DISK | lv.VIR_MIGRATE_NON_SHARED_INC)) === 0) return new Set();
  const named = params[lv.VIR_MIGRATE_PARAM_MIGRATE_DISKS];
  if (named !== undefined) return new Set(Array.isArray(named) ? named.map(String) : [String(named)]);
  return new Set(
    domain.facts.disks
      .filter(({ device, source }) => device === "disk" && source !== undefined)
      .map(({ target }) => target),
  );
}

function diskBytesOf(domains: Domains, domain: SimDomain, args: MigrationArgs): number {
  const copied = copiedDisks(domain, args);
  const bytes = domain.facts.disks
    .filter(({ target }) => copied.has(target))
    .map(({ source }) => (source === undefined ? 0 : (domains.context.disks.find(source)?.allocationBytes ?? 0)));
  return bytes.reduce((sum, each) => sum + each, 0);
}
