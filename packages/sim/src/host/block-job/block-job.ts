// One copy between the layers of a running guest's disk (QEMU's block jobs as libvirt 9.0 shows them,
// src/qemu/qemu_blockjob.c). Its progress is computed when it is asked for.
import type { HostClock } from "#host/clock.ts";

export interface BlockJobOptions {
  /** VIR_DOMAIN_BLOCK_JOB_TYPE_… */
  readonly type: number;
  readonly target: string;
  /** The guest's run that it belongs to: it ends with that. */
  readonly domainId: number;
  /** The disk's image when it began. */
  readonly source: string;
  readonly totalBytes: number;
  /** 0: as fast as it goes. */
  readonly bandwidthBytesPerS: number;
  /** Keeps up with the guest when all is copied, until it is told to end. */
  readonly staysReady: boolean;
  /** All is copied. Throws FileError when what is copied has no room. */
  readonly onCopied: () => void;
  /** The guest goes on with the other image. */
  readonly onPivot: () => void;
}

const BYTES_PER_S = 400_000_000;

export class BlockJob {
  readonly options: BlockJobOptions;
  isReady = false;
  bandwidthBytesPerS: number;
  readonly #clock: HostClock;
  #doneBytes = 0;
  #sinceMs: number;
  #cancel: () => void = () => undefined;

  constructor(clock: HostClock, options: BlockJobOptions) {
    this.#clock = clock;
    this.options = options;
    this.bandwidthBytesPerS = options.bandwidthBytesPerS;
    this.#sinceMs = clock.steadyMs();
    this.#schedule();
  }

  get #speed(): number {
    return this.bandwidthBytesPerS === 0 ? BYTES_PER_S : this.bandwidthBytesPerS;
  }

  get doneBytes(): number {
    const elapsedS = (this.#clock.steadyMs() - this.#sinceMs) / 1000;
    return this.isReady
      ? this.options.totalBytes
      : Math.min(this.options.totalBytes, Math.floor(this.#doneBytes + elapsedS * this.#speed));
  }

  setBandwidth(bytesPerS: number): void {
    this.#doneBytes = this.doneBytes;
    this.#sinceMs = this.#clock.steadyMs();
    this.bandwidthBytesPerS = bytesPerS;
    if (!this.isReady) this.#schedule();
  }

  /** Nothing more comes of it. */
  drop(): void {
    this.#cancel();
  }

  #schedule(): void {
    this.#cancel();
    const leftMs = ((this.options.totalBytes - this.#doneBytes) / this.#speed) * 1000;
    this.#cancel = this.#clock.schedule(leftMs, () => {
      this.isReady = true;
      this.options.onCopied();
    });
  }
}
