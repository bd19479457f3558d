/** How busy a host is: free memory now, CPU load between two looks at libvirt's counters (virNodeGetCPUStats, libvirt 9.0). */
import type { Connection } from "@innkeeper/libvirt";
import type { HostUsage } from "@innkeeper/contract/resource/host.ts";
import type { Clock } from "#core/clock.ts";
import { timestamp } from "#core/clock.ts";
import type { ConnectedCall } from "#libvirt/session.ts";

const allCpus = -1; // VIR_NODE_CPU_STATS_ALL_CPUS
const allCells = -1; // VIR_NODE_MEMORY_STATS_ALL_CELLS
/** The first sample has nothing to be compared with: a second one is taken so soon. Sooner nothing can be told. */
const leastIntervalMs = 200;

interface CpuSample {
  readonly busyNs: number;
  readonly totalNs: number;
}

export class UsageMeter {
  readonly #clock: Clock;
  #last: (CpuSample & { readonly atMs: number; readonly loadPct: number }) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async read(connected: ConnectedCall): Promise<HostUsage> {
    const [memoryFreeMiB, cpuLoadPct] = await Promise.all([freeMemoryMiB(connected), this.#cpuLoadPct(connected)]);
    return { memoryFreeMiB, cpuLoadPct, sampledAt: timestamp(this.#clock) };
  }

  async #cpuLoadPct(connected: ConnectedCall): Promise<number> {
    const last = this.#last;
    // Who asks right after someone else gets the same answer: the kernel counts in ticks.
    if (last !== undefined && this.#clock.monotonicMs() - last.atMs < leastIntervalMs) return last.loadPct;
    let before: CpuSample | undefined = last;
    if (before === undefined) {
      before = await cpuSample(connected);
      await this.#clock.sleep(leastIntervalMs, connected.options.signal);
    }
    const now = await cpuSample(connected);
    const loadPct = loadBetween(before, now);
    this.#last = { ...now, atMs: this.#clock.monotonicMs(), loadPct };
    return loadPct;
  }
}

function loadBetween(before: CpuSample, now: CpuSample): number {
  const totalNs = now.totalNs - before.totalNs;
  // Counters start anew when the host does.
  if (totalNs <= 0 || now.busyNs < before.busyNs) return 0;
  return Math.min(100, Math.round(((now.busyNs - before.busyNs) / totalNs) * 1000) / 10);
}

/** How many counters a daemon has: it is told only when it is asked for none, and does not change. */
interface CounterCounts {
  cpu?: number;
  memory?: number;
}
const counterCounts = new WeakMap<Connection, CounterCounts>();

function countsOf(connection: Connection): CounterCounts {
  const counts = counterCounts.get(connection) ?? {};
  counterCounts.set(connection, counts);
  return counts;
}

/** Drivers without counters: load 0. */
async function cpuSample({ connection, options }: ConnectedCall): Promise<CpuSample> {
  const counts = countsOf(connection);
  try {
    counts.cpu ??= (await connection.remote.nodeGetCpuStats({ cpuNum: allCpus, nparams: 0 }, options)).nparams;
    const { params } = await connection.remote.nodeGetCpuStats({ cpuNum: allCpus, nparams: counts.cpu }, options);
    const value = (field: string): number => Number(params.find((param) => param.field === field)?.value ?? 0n);
    const busyNs = value("kernel") + value("user");
    return { busyNs, totalNs: busyNs + value("idle") + value("iowait") };
  } catch (error) {
    if (options.signal.aborted || !connection.isOpen) throw error;
    return { busyNs: 0, totalNs: 0 };
  }
}

interface HostMemory {
  readonly totalMiB: number;
  /** With what the kernel would give back (buffers and page cache): what a new guest could get. */
  readonly freeMiB: number;
}

/** undefined when the host's driver does not count (libvirt's test driver). */
export async function hostMemory({ connection, options }: ConnectedCall): Promise<HostMemory | undefined> {
  const counts = countsOf(connection);
  try {
    const { remote } = connection;
    counts.memory ??= (await remote.nodeGetMemoryStats({ cellNum: allCells, nparams: 0 }, options)).nparams;
    const { params } = await remote.nodeGetMemoryStats({ cellNum: allCells, nparams: counts.memory }, options);
    const kib = (field: string): number => Number(params.find((param) => param.field === field)?.value ?? 0n);
    const freeKiB = kib("free") + kib("buffers") + kib("cached");
    return { totalMiB: Math.floor(kib("total") / 1024), freeMiB: Math.floor(freeKiB / 1024) };
  } catch (error) {
    if (options.signal.aborted || !connection.isOpen) throw error;
    return undefined;
  }
}

async function freeMemoryMiB(connected: ConnectedCall): Promise<number> {
  const memory = await hostMemory(connected);
  if (memory !== undefined) return memory.freeMiB;
  const { connection, options } = connected;
  const { freeMem } = await connection.remote.nodeGetFreeMemory({}, options).catch(() => ({ freeMem: 0n }));
  return Math.floor(Number(freeMem) / 1024 ** 2);
}
