// The machine under the guests: its CPUs and memory, and how much of them the guests use now. One NUMA node a socket.
import type { HostContext } from "#host/context.ts";
import type { Domains } from "#host/domain/domains.ts";
import { memoryOf } from "#host/domain/guest-memory.ts";
import { cpuCountOf } from "./shape.ts";
import type { NodeShape } from "./shape.ts";

/** What the host's own programs need. */
const SYSTEM_KIB = 1_572_864;
const SYSTEM_LOAD = 0.01;

export interface NodeTimes {
  readonly kernelNs: bigint;
  readonly userNs: bigint;
  readonly idleNs: bigint;
  readonly iowaitNs: bigint;
}

export interface NodeMemory {
  readonly totalKiB: number;
  readonly freeKiB: number;
  readonly buffersKiB: number;
  readonly cachedKiB: number;
}

export class SimNode {
  readonly shape: NodeShape;
  readonly #host: HostContext;
  readonly #domains: Domains;
  /** Steady time of the machine's last start. */
  bootedMs: number;

  constructor(host: HostContext, domains: Domains, shape: NodeShape) {
    this.shape = shape;
    this.#host = host;
    this.#domains = domains;
    // It has been up for a while: 30 to 120 days, longer than any of its guests.
    this.bootedMs = host.clock.steadyMs() - (30 + host.random.below(90)) * 86_400_000;
  }

  get cpuCount(): number {
    return cpuCountOf(this.shape);
  }

  get memoryKiB(): number {
    // The firmware and the kernel keep some for themselves.
    return Math.floor(this.shape.memoryMiB * 1024 * 0.985);
  }

  /** All CPUs together, since the machine's start. */
  times(): NodeTimes {
    const upS = Math.max(1, (this.#host.clock.steadyMs() - this.bootedMs) / 1000);
    let guestS = this.#domains.retiredVcpuSeconds;
    for (const domain of this.#domains.all) guestS += domain.vcpuSeconds();
    const allS = upS * this.cpuCount;
    const systemS = allS * SYSTEM_LOAD;
    const busyS = Math.min(guestS + systemS, allS);
    const iowaitS = Math.min(systemS / 10, allS - busyS);
    return {
      kernelNs: nano(busyS * 0.1),
      userNs: nano(busyS * 0.9),
      idleNs: nano(allS - busyS - iowaitS),
      iowaitNs: nano(iowaitS),
    };
  }

  memory(): NodeMemory {
    const totalKiB = this.memoryKiB;
    let usedKiB = SYSTEM_KIB;
    for (const domain of this.#domains.all)
      if (domain.isActive) usedKiB += memoryOf(domain, this.#host.clock).residentKiB;
    const leftKiB = Math.max(0, totalKiB - usedKiB);
    const cachedKiB = Math.floor(Math.min(leftKiB / 4, totalKiB / 10));
    const buffersKiB = Math.floor(cachedKiB / 20);
    return { totalKiB, buffersKiB, cachedKiB, freeKiB: leftKiB - cachedKiB - buffersKiB };
  }

  /** CPUs of a NUMA node, in order. */
  cpusOf(cell: number): number[] {
    const perSocket = this.shape.coresPerSocket * this.shape.threadsPerCore;
    return Array.from({ length: perSocket }, (_each, index) => cell * perSocket + index);
  }
}

function nano(seconds: number): bigint {
  return BigInt(Math.round(seconds * 1e6)) * 1000n;
}
