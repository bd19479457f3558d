// One domain: what it is (definition), what it does (state), and what it has done (counters). Plain state and the rules
// that hold for it; what a client may ask for is in the files beside this one.
import {
  VIR_DOMAIN_PAUSED,
  VIR_DOMAIN_RUNNING,
  VIR_DOMAIN_SHUTOFF,
  VIR_DOMAIN_SHUTOFF_UNKNOWN,
} from "@innkeeper/libvirt/generated/domain-constant.ts";
import { VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN } from "@innkeeper/libvirt/generated/virterror-constant.ts";
import type { NonnullDomain } from "@innkeeper/libvirt/generated/remote-type.ts";
import { SimError } from "#error.ts";
import type { HostContext } from "#host/context.ts";
import { LoadCurve } from "#host/load.ts";
import { TextDocument } from "./document.ts";
import { makeLive } from "./live.ts";
import { format } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";
import type { DomainDocument } from "./document.ts";
import type { DomainFacts } from "./facts.ts";
import type { LiveFacts } from "./live.ts";
import type { DomainJob, JobResult } from "./job.ts";

/** What a start gave to the guest. */
export interface Run {
  /** Only when it differs from what the definition gives. */
  document: DomainDocument | null;
  readonly displayPort: number;
  readonly firstVnet: number;
  readonly vnetCount: number;
  readonly firstPty: number;
  /** Steady time. */
  readonly startedMs: number;
  /** From when on the guest agent answers: the guest has booted. Steady time. */
  agentFromMs: number;
  /** What the balloon leaves to the guest. */
  balloonKiB: number;
}

/** A guest's memory in a file. */
export interface SavedImage {
  readonly document: DomainDocument;
  readonly isPaused: boolean;
  readonly cpuSeconds: number;
}

export class SimDomain {
  readonly uuid: string;
  name: string;
  id = -1;
  state: number = VIR_DOMAIN_SHUTOFF;
  reason: number = VIR_DOMAIN_SHUTOFF_UNKNOWN;
  isPersistent: boolean;
  autostart = false;
  /** What the next start uses; of a transient domain, what it was started from. */
  config: DomainDocument;
  run: Run | null = null;
  managedSave: SavedImage | null = null;
  job: DomainJob | null = null;
  lastJob: JobResult | null = null;
  /** Kept by libvirt itself; the snapshot part counts. */
  snapshotCount = 0;
  readonly #host: HostContext;
  /** vCPU seconds of work done, and what of the curve was done (disk and network follow it), up to #meterFromMs. */
  #vcpuSeconds = 0;
  #ioSeconds = 0;
  /** Steady time from when on the curve is added; null while nothing runs. */
  #meterFromMs: number | null = null;

  constructor(host: HostContext, uuid: string, name: string, config: DomainDocument, isPersistent: boolean) {
    this.#host = host;
    this.uuid = uuid;
    this.name = name;
    this.config = config;
    this.isPersistent = isPersistent;
  }

  get ref(): NonnullDomain {
    return { name: this.name, uuid: this.uuid, id: this.id };
  }

  get isActive(): boolean {
    return this.run !== null;
  }

  get facts(): DomainFacts {
    return (this.run?.document ?? this.config).facts();
  }

  get curve(): LoadCurve {
    return new LoadCurve(this.#host.load, this.#host.seed, this.uuid);
  }

  get isAgentConnected(): boolean {
    const { run } = this;
    return (
      run !== null &&
      this.facts.hasAgent &&
      this.state === VIR_DOMAIN_RUNNING &&
      this.#host.clock.steadyMs() >= run.agentFromMs
    );
  }

  requireActive(): Run {
    if (this.run === null) throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN, "domain is not running");
    return this.run;
  }

  /** The run that had this id: not one that was started since. */
  requireRun(id: number): Run {
    const run = this.requireActive();
    if (this.id !== id) throw new SimError(VIR_ERR_OPERATION_INVALID, VIR_FROM_DOMAIN, "domain is not running");
    return run;
  }

  setState(state: number, reason: number): void {
    this.#count();
    this.state = state;
    this.reason = reason;
    this.#meterFromMs = state === VIR_DOMAIN_RUNNING ? this.#host.clock.steadyMs() : null;
  }

  /** Work of all vCPUs together, in seconds, since the start. */
  vcpuSeconds(): number {
    this.#count();
    return this.#vcpuSeconds;
  }

  /** Seconds of full load, by which disks and network cards count. */
  ioSeconds(): number {
    this.#count();
    return this.#ioSeconds;
  }

  /** Of what the guest could use, now. */
  load(): number {
    return this.state === VIR_DOMAIN_RUNNING ? this.curve.at(this.#host.clock.steadyMs() / 1000) : 0;
  }

  /** A start begins with counters at 0, or (a restored or migrated guest) with those it had. */
  resetCounters(vcpuSeconds = 0): void {
    this.#vcpuSeconds = vcpuSeconds;
    this.#ioSeconds = 0;
    if (this.#meterFromMs !== null) this.#meterFromMs = this.#host.clock.steadyMs();
  }

  /** As if it had run since then. */
  countFrom(steadyMs: number): void {
    if (this.#meterFromMs !== null) this.#meterFromMs = steadyMs;
  }

  /** To be called before what the counters grow by changes. */
  #count(): void {
    const from = this.#meterFromMs;
    const now = this.#host.clock.steadyMs();
    if (from === null || now <= from) return;
    const { curve } = this;
    const seconds = curve.work(now / 1000) - curve.work(from / 1000);
    this.#vcpuSeconds += seconds * this.facts.vcpus;
    this.#ioSeconds += seconds;
    this.#meterFromMs = now;
  }

  /** The running guest's document, as a tree of the caller's own; of one that is off, its definition. */
  liveRoot(): Element {
    const { run } = this;
    const root = (run?.document ?? this.config).root();
    // A document that was changed while the guest runs is completed again: what is there already stays.
    if (run !== null) makeLive(root, this.#liveFacts(run), this.#host.disks);
    return root;
  }

  liveText(): string {
    const { run } = this;
    const quick = run === null || run.document !== null ? undefined : this.config.liveText?.(this.#liveFacts(run));
    return quick ?? format(this.liveRoot());
  }

  #liveFacts({ displayPort, firstVnet, firstPty }: Run): LiveFacts {
    const { id, name, isAgentConnected } = this;
    return { id, name, displayPort, firstVnet, firstPty, isAgentConnected };
  }

  editConfig(edit: (root: Element) => void): void {
    const root = this.config.root();
    edit(root);
    // A running guest does not change with its definition.
    if (this.run !== null && this.run.document === null) this.run.document = this.config;
    this.config = new TextDocument(root);
  }

  editLive(edit: (root: Element) => void): void {
    const run = this.requireActive();
    const root = this.liveRoot();
    edit(root);
    this.#count();
    run.document = new TextDocument(root);
  }

  get isPaused(): boolean {
    return this.state === VIR_DOMAIN_PAUSED;
  }
}
