/**
 * Measures hosts: one bulk call for all guests of a host every 20 s, each host at its own moment in that time. A host that
 * takes long is asked less often, so that it is not asked while it still answers; no host waits for another.
 */
import type { StoragePoolId } from "@innkeeper/contract/id.ts";
import type { MetricName } from "@innkeeper/contract/resource/metric.ts";
import type { Vm, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import type { Call } from "#core/call.ts";
import type { Clock } from "#core/clock.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { RecentSamples } from "#management/metric/recent-samples.ts";
import { sampleMs } from "#management/metric/recent-samples.ts";
import {
  addDisks,
  type DiskCounters,
  diskCounters,
  diskRates,
  hostValues,
  type Values,
  valuesOf,
  type VmCounters,
  vmCounters,
  vmValues,
} from "#management/metric/sample.ts";
import type { Providers } from "#management/providers.ts";
import type { ChangeEntry } from "#store/port.ts";

export interface MetricPollDeps {
  readonly inventory: Inventory;
  readonly providers: Providers;
  readonly recent: RecentSamples;
  readonly clock: Clock;
}

/** A host is busy with us for at most this part of its time. */
const busyShare = 1 / 4;
const intervalMaxMs = 5 * 60_000;

interface PoolCounters extends DiskCounters {
  readonly atMs: number;
}

/** Until a host is asked again, after it took so long. */
export function nextIntervalMs(tookMs: number): number {
  return Math.min(intervalMaxMs, Math.max(sampleMs, Math.round(tookMs / busyShare)));
}

export class MetricPoll implements Disposable {
  readonly #deps: MetricPollDeps;
  /** The last counters of each VM and pool, to tell what happened since. */
  readonly #vms = new Map<string, VmCounters>();
  readonly #pools = new Map<string, PoolCounters>();
  readonly #stop: () => void;

  constructor(deps: MetricPollDeps) {
    this.#deps = deps;
    this.#stop = deps.inventory.onChange((changes) => this.#forget(changes));
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  /** Takes a sample of a host, its guests and its pools. UUIDs of guests that are not, or no longer, as they are stored. */
  async sample(hostId: string, call: Call): Promise<string[]> {
    const { inventory, providers, clock, recent } = this.#deps;
    const { guest, link } = providers.get(hostId);
    const [statistics, usage] = await Promise.all([guest.inventory.statistics(undefined, call), link.usage(call)]);
    const [now, atMs] = [clock.monotonicMs(), clock.now()];
    const vms = inventory.byHost("vm", hostId);
    const measured = vms.flatMap((vm): Values[] => {
      const found = statistics.get(vm.uuid);
      const values = found === undefined || vm.state !== found.state ? undefined : this.#vmValues(vm, found, now);
      if (values !== undefined) recent.record(vm.id, atMs, values);
      return values === undefined ? [] : [values];
    });
    const totalMiB = inventory.get("host", hostId)?.hardware?.memoryMiB;
    const given: Partial<Record<MetricName, number>> = {
      cpuUsagePct: usage.cpuLoadPct,
      ...(totalMiB === undefined ? {} : { memoryConsumedMiB: Math.max(0, totalMiB - usage.memoryFreeMiB) }),
    };
    recent.record(hostId, atMs, hostValues(measured, given));
    this.#samplePools(hostId, vms, statistics, now, atMs);
    return changed(vms, statistics);
  }

  #vmValues(vm: Vm, statistics: VmStatistics, nowMs: number): Values | undefined {
    // What is off has no counters.
    if (vm.state !== "running" && vm.state !== "paused") {
      this.#vms.delete(vm.id);
      return undefined;
    }
    const counters = vmCounters(statistics, nowMs);
    const before = this.#vms.get(vm.id);
    this.#vms.set(vm.id, counters);
    return before && vmValues(before, counters, statistics);
  }

  /** What the guests of the host do to the disks in each pool of the host. */
  #samplePools(
    hostId: string,
    vms: readonly Vm[],
    statistics: ReadonlyMap<string, VmStatistics>,
    nowMs: number,
    atMs: number,
  ): void {
    const { inventory, recent } = this.#deps;
    const poolOf = (path: string): StoragePoolId | undefined =>
      inventory.by("volume", "path", path).find((volume) => volume.hostId === hostId)?.poolId;
    const byPool = new Map<StoragePoolId, DiskCounters>();
    for (const vm of vms) {
      for (const disk of statistics.get(vm.uuid)?.disks ?? []) {
        const source = vm.spec.disks.find(({ target }) => target === disk.target)?.source;
        const poolId = source === undefined ? undefined : poolOf(source);
        if (poolId === undefined) continue;
        const counters = diskCounters([disk]);
        const before = byPool.get(poolId);
        byPool.set(poolId, before === undefined ? counters : addDisks(before, counters));
      }
    }
    for (const pool of inventory.byHost("storage-pool", hostId)) {
      const counters = { ...(byPool.get(pool.id) ?? diskCounters([])), atMs: nowMs };
      const before = this.#pools.get(pool.id);
      this.#pools.set(pool.id, counters);
      const rates = before === undefined ? {} : diskRates(before, counters, (nowMs - before.atMs) / 1000);
      recent.record(pool.id, atMs, valuesOf({ ...rates, storageUsedMiB: pool.allocationBytes / 2 ** 20 }));
    }
  }

  #forget(changes: readonly ChangeEntry[]): void {
    for (const { id, operation } of changes) {
      if (operation !== "delete") continue;
      this.#vms.delete(id);
      this.#pools.delete(id);
      this.#deps.recent.forget(id);
    }
  }
}

function changed(vms: readonly Vm[], statistics: ReadonlyMap<string, VmStatistics>): string[] {
  const known = new Map(vms.map((vm) => [vm.uuid, vm.state]));
  const seen = [...statistics].filter(([uuid, { state }]) => known.get(uuid) !== state).map(([uuid]) => uuid);
  const gone = [...known.keys()].filter((uuid) => !statistics.has(uuid));
  return [...seen, ...gone];
}
