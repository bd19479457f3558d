/**
 * Samples of clusters: what their hosts come to together in each 20 s. It is told once those are over, of the last sample
 * of each host, for every host is measured at its own moment. A host that has none of the last 90 s is left out.
 */
import type { Inventory } from "#management/inventory/inventory.ts";
import { type RecentSamples, sampleMs } from "#management/metric/recent-samples.ts";
import { hostsValues, type Values } from "#management/metric/sample.ts";

export interface HostSample {
  readonly atMs: number;
  readonly values: Values;
  /** How many guests it is of. */
  readonly vmCount: number;
}

/** An older sample is not of now. */
export const currentMs = 90_000;

export class ClusterSamples {
  readonly #inventory: Inventory;
  readonly #recent: RecentSamples;
  readonly #hosts = new Map<string, HostSample>();
  #slot = 0;

  constructor(inventory: Inventory, recent: RecentSamples) {
    this.#inventory = inventory;
    this.#recent = recent;
  }

  /** Before anything of that moment is recorded: what was before it is over. */
  advance(atMs: number): void {
    const slot = Math.floor(atMs / sampleMs);
    if (slot > this.#slot && this.#slot > 0) this.#record(this.#slot * sampleMs);
    // Far back: the clock was set.
    if (slot > this.#slot || slot < this.#slot - 1) this.#slot = slot;
  }

  note(hostId: string, sample: HostSample): void {
    this.#hosts.set(hostId, sample);
  }

  forget(hostId: string): void {
    this.#hosts.delete(hostId);
  }

  #record(fromMs: number): void {
    const endMs = fromMs + sampleMs;
    for (const { id } of this.#inventory.list("cluster")) {
      const known = this.#inventory.by("host", "clusterId", id).flatMap((host) => {
        const sample = this.#hosts.get(host.id);
        const isCurrent = sample !== undefined && sample.atMs < endMs && sample.atMs >= endMs - currentMs;
        return isCurrent ? [{ ...sample, cpuCount: host.hardware?.cpuCount ?? 0 }] : [];
      });
      if (known.length > 0) this.#recent.record(id, fromMs, hostsValues(known));
    }
  }
}
