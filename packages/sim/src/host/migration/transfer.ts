// How long a live migration takes: pass after pass over the memory, each sending what the guest changed during the one
// before, until the rest fits into the permitted pause (QEMU migration/ram.c, docs/devel/migration.rst). Works on the
// host's clock; figures in between are computed when they are asked for.
import {
  VIR_ERR_OPERATION_ABORTED,
  VIR_ERR_OPERATION_FAILED,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { wait } from "#host/clock.ts";
import type { HostClock } from "#host/clock.ts";

export interface TransferPlan {
  readonly memoryBytes: number;
  /** Disks that are copied first; 0 when the storage is shared. */
  readonly diskBytes: number;
  readonly bandwidthBytesPerS: number;
  readonly maxDowntimeMs: number;
  readonly isAutoConverge: boolean;
  /** What the guest changes per second now. */
  dirtyBytesPerS(): number;
}

const PAGE_BYTES = 4_096;
/** A guest that is throttled keeps at least so much of its speed (QEMU max-cpu-throttle 99). */
const THROTTLE_STEP = 0.1;
const THROTTLE_FIRST = 0.2;
const THROTTLE_MAX = 0.99;
/** Device state, and the handing over. */
const SWITCH_MS = 20;

export class Transfer {
  readonly startedMs: number;
  maxDowntimeMs: number;
  #bandwidthBytesPerS: number;
  iteration = 0;
  throttle = 0;
  downtimeMs = 0;
  isPostCopy = false;
  readonly #clock: HostClock;
  readonly #plan: TransferPlan;
  readonly #cancel = new AbortController();
  readonly #onIteration: (iteration: number) => void;
  #diskDone = 0;
  #memoryDone = 0;
  /** Of the pass under way: all of it, and what of it had been sent when its pace last changed. */
  #passBytes = 0;
  #passSent = 0;
  #passFromMs: number;
  #paceChanged = Promise.withResolvers<void>();
  #isDisk = true;
  #postCopyAsked = Promise.withResolvers<void>();

  constructor(clock: HostClock, plan: TransferPlan, onIteration: (iteration: number) => void) {
    this.#clock = clock;
    this.#plan = plan;
    this.#onIteration = onIteration;
    this.startedMs = clock.steadyMs();
    this.#passFromMs = this.startedMs;
    this.maxDowntimeMs = plan.maxDowntimeMs;
    this.#bandwidthBytesPerS = plan.bandwidthBytesPerS;
  }

  get bandwidthBytesPerS(): number {
    return this.#bandwidthBytesPerS;
  }

  set bandwidthBytesPerS(value: number) {
    this.#passSent = this.#sentOfPass();
    this.#passFromMs = this.#clock.steadyMs();
    this.#bandwidthBytesPerS = value;
    this.#paceChanged.resolve();
  }

  get elapsedMs(): number {
    return this.#clock.steadyMs() - this.startedMs;
  }

  abort(): void {
    if (this.isPostCopy)
      throw new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "cannot abort migration in post-copy mode");
    this.#cancel.abort(new SimError(VIR_ERR_OPERATION_ABORTED, VIR_FROM_QEMU, "migration out job: canceled by client"));
  }

  /** The connection to the target broke, or a host died. */
  fail(reason: string): void {
    this.#cancel.abort(new SimError(VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, `migration out job: ${reason}`));
  }

  startPostCopy(): void {
    this.#postCopyAsked.resolve();
  }

  /** Until the rest is small enough, or the guest is to go over at once. Rejects when it was cancelled. */
  async untilSwitch(): Promise<"sent" | "post-copy"> {
    const { memoryBytes, diskBytes, isAutoConverge } = this.#plan;
    if (diskBytes > 0) {
      await this.#pass(diskBytes);
      this.#diskDone = diskBytes;
    }
    this.#isDisk = false;
    const postCopy = this.#postCopyAsked.promise.then(() => "post-copy" as const);
    let leftBytes = memoryBytes;
    for (;;) {
      this.iteration += 1;
      this.#onIteration(this.iteration);
      const fromMs = this.#clock.steadyMs();
      const how = await Promise.race([this.#pass(leftBytes).then(() => "sent" as const), postCopy]);
      const tookS = (this.#clock.steadyMs() - fromMs) / 1000;
      const sent = how === "sent" ? leftBytes : this.#sentOfPass();
      this.#memoryDone += sent;
      const dirtied = tookS * this.#plan.dirtyBytesPerS() * (1 - this.throttle);
      const remaining = Math.min(memoryBytes, leftBytes - sent + dirtied);
      this.#beginPass(remaining);
      if (how === "post-copy") return how;
      if ((remaining / this.bandwidthBytesPerS) * 1000 <= this.maxDowntimeMs) return how;
      // A pass that gains less than half is none (migration.throttle-trigger-threshold 50).
      if (isAutoConverge && remaining > sent / 2)
        this.throttle = Math.min(THROTTLE_MAX, this.throttle === 0 ? THROTTLE_FIRST : this.throttle + THROTTLE_STEP);
      leftBytes = remaining;
    }
  }

  /** The guest stands still: what is left goes over. */
  async finish(): Promise<void> {
    const leftMs = (this.#passBytes / this.bandwidthBytesPerS) * 1000;
    this.downtimeMs = Math.round(leftMs + SWITCH_MS);
    await wait(this.#clock, this.downtimeMs, this.#cancel.signal);
    this.#memoryDone += this.#passBytes;
    this.#passBytes = 0;
  }

  /** The guest runs on the target, and what is left follows it. */
  async follow(): Promise<void> {
    this.isPostCopy = true;
    this.downtimeMs = SWITCH_MS;
    await this.#pass(this.#passBytes);
    this.#memoryDone += this.#passBytes;
    this.#passBytes = 0;
  }

  async #pass(bytes: number): Promise<void> {
    this.#beginPass(bytes);
    for (let isPaceNew = true; isPaceNew;) {
      this.#paceChanged = Promise.withResolvers();
      const leftMs = ((bytes - this.#passSent) / this.#bandwidthBytesPerS) * 1000;
      isPaceNew = await Promise.race([
        wait(this.#clock, leftMs, this.#cancel.signal).then(() => false),
        this.#paceChanged.promise.then(() => true),
      ]);
    }
  }

  #beginPass(bytes: number): void {
    this.#passBytes = bytes;
    this.#passSent = 0;
    this.#passFromMs = this.#clock.steadyMs();
  }

  #sentOfPass(): number {
    const elapsedS = (this.#clock.steadyMs() - this.#passFromMs) / 1000;
    return Math.min(this.#passBytes, this.#passSent + elapsedS * this.#bandwidthBytesPerS);
  }

  figures(): Record<string, number | bigint> {
    const { memoryBytes, diskBytes } = this.#plan;
    const ofPass = this.#sentOfPass();
    const diskDone = this.#isDisk ? ofPass : this.#diskDone;
    const memoryDone = this.#memoryDone + (this.#isDisk ? 0 : ofPass);
    const memoryLeft = this.#isDisk ? memoryBytes : this.#passBytes - ofPass;
    const diskLeft = diskBytes - diskDone;
    return {
      time_elapsed: whole(this.elapsedMs),
      downtime: whole(this.downtimeMs === 0 ? (memoryLeft / this.bandwidthBytesPerS) * 1000 : this.downtimeMs),
      setup_time: 2n,
      data_total: whole(memoryBytes + diskBytes),
      data_processed: whole(memoryDone + diskDone),
      data_remaining: whole(memoryLeft + diskLeft),
      memory_total: whole(memoryBytes),
      memory_processed: whole(memoryDone),
      memory_remaining: whole(memoryLeft),
      memory_bps: whole(this.#isDisk ? 0 : this.bandwidthBytesPerS),
      memory_constant: 0n,
      memory_normal: whole(memoryDone / PAGE_BYTES),
      memory_normal_bytes: whole(memoryDone),
      memory_dirty_rate: whole((this.#plan.dirtyBytesPerS() * (1 - this.throttle)) / PAGE_BYTES),
      memory_page_size: BigInt(PAGE_BYTES),
      memory_iteration: whole(this.iteration),
      memory_postcopy_requests: 0n,
      ...(diskBytes > 0
        ? { disk_total: whole(diskBytes), disk_processed: whole(diskDone), disk_remaining: whole(diskLeft) }
        : {}),
      ...(this.throttle > 0 ? { auto_converge_throttle: Math.round(this.throttle * 100) } : {}),
    };
  }
}

function whole(value: number): bigint {
  return BigInt(Math.max(0, Math.floor(value)));
}
