/**
 * Measures hosts: one bulk call for all guests of a host every 20 s, each host at its own moment in that time. A host that
 * takes long is asked less often, so that it is not asked while it still answers; no host waits for another.
 */
import type { StoragePoolId } from "@innkeeper/contract/id.ts";
import type { MetricName } from "@innkeeper/contract/resource/metric.ts";
import type { Vm, VmStatistics } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import type { Call } from "#core/call.ts";
import type { Clock } from "#core/clock.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { ClusterSamples } from "#management/metric/cluster-samples.ts";
import type { RecentSamples } from "#management/metric/recent-samples.ts";
import { sampleMs } from "#management/metric/recent-samples.ts";
import {
  addDisks,
  diskActivity,
  type DiskCounters,
  diskRates,
  hostValues,
  keptCounters,
  noDisk,
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

interface Measured {
  readonly values: Values;
  readonly disks: ReadonlyMap<string, DiskCounters>;
}

/** Until a host is asked again, after it took so long. */
export function nextIntervalMs(tookMs: number): number {
  return Math.min(intervalMaxMs, Math.max(sampleMs, Math.round(tookMs / busyShare)));
}

export class MetricPoll implements Disposable {
  readonly #deps: MetricPollDeps;
  /** The last counters of each VM, to tell what happened since. */
  readonly #vms = new Map<string, VmCounters>();
  readonly #clusters: ClusterSamples;
  readonly #stop: () => void;

  constructor(deps: MetricPollDeps) {
    this.#deps = deps;
    this.#clusters = new ClusterSamples(deps.inventory, deps.recent);
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
    this.#clusters.advance(atMs);
    const vms = inventory.byHost("vm", hostId);
    const measured = new Map<Vm, Measured>();
    for (const vm of vms) {
      const found = statistics.get(vm.uuid);
      const seen = found === undefined || vm.state !== found.state ? undefined : this.#measured(vm, found, now);
      if (seen === undefined) continue;
      measured.set(vm, seen);
      recent.record(vm.id, atMs, seen.values);
    }
    const totalMiB = inventory.get("host", hostId)?.hardware?.memoryMiB;
    const given: Partial<Record<MetricName, number>> = {
      cpuUsagePct: usage.cpuLoadPct,
      ...(totalMiB === undefined ? {} : { memoryConsumedMiB: Math.max(0, totalMiB - usage.memoryFreeMiB) }),
    };
    const values = hostValues(
      Array.from(measured.values(), ({ values }) => values),
      given,
    );
    recent.record(hostId, atMs, values);
    this.#clusters.note(hostId, { atMs, values, vmCount: measured.size });
    this.#samplePools(hostId, vms, measured, atMs);
    return changed(vms, statistics);
  }

  #measured(vm: Vm, statistics: VmStatistics, nowMs: number): Measured | undefined {
    // What is off has no counters.
    if (!isActive(vm)) {
      this.#vms.delete(vm.id);
      return undefined;
    }
    const counters = vmCounters(statistics, nowMs);
    const before = this.#vms.get(vm.id);
    const values = before && vmValues(before, counters, statistics);
    const measured = values && { values, disks: diskActivity(before, counters) };
    this.#vms.set(vm.id, keptCounters(before, counters));
    return measured;
  }

  /** What the guests of the host do to the disks in each pool of the host. Unknown while of none of its disks it is known. */
  #samplePools(hostId: string, vms: readonly Vm[], measured: ReadonlyMap<Vm, Measured>, atMs: number): void {
    const { inventory, recent } = this.#deps;
    const poolOf = (path: string): StoragePoolId | undefined =>
      inventory.by("volume", "path", path).find((volume) => volume.hostId === hostId)?.poolId;
    const byPool = new Map<StoragePoolId, DiskCounters>();
    const unknown = new Set<StoragePoolId>();
    for (const vm of vms.filter(isActive)) {
      for (const { target, source } of vm.spec.disks) {
        const poolId = source === undefined ? undefined : poolOf(source);
        if (poolId === undefined) continue;
        const activity = measured.get(vm)?.disks.get(target);
        if (activity === undefined) unknown.add(poolId);
        else byPool.set(poolId, addDisks(byPool.get(poolId) ?? noDisk, activity));
      }
    }
    for (const pool of inventory.byHost("storage-pool", hostId)) {
      const activity = byPool.get(pool.id) ?? (unknown.has(pool.id) ? undefined : noDisk);
      const rates = activity === undefined ? {} : diskRates(activity);
      recent.record(pool.id, atMs, valuesOf({ ...rates, storageUsedMiB: pool.allocationBytes / 2 ** 20 }));
    }
  }

  #forget(changes: readonly ChangeEntry[]): void {
    for (const { id, operation } of changes) {
      if (operation !== "delete") continue;
      this.#vms.delete(id);
      this.#clusters.forget(id);
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
