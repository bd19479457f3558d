/**
 * Ids of volumes: made of pool and name, by which the host knows a volume, so that they are the same when the store is
 * rebuilt. A volume that is made under the name of one that was deleted is another one: for as long as anybody may still
 * mean the old one, its id is not given again.
 */
import { newId, type StoragePoolId, type VolumeId } from "@innkeeper/contract/id.ts";
import type { Volume } from "@innkeeper/contract/resource/volume.ts";
import type { Clock } from "#core/clock.ts";
import { derivedId } from "#core/derived-id.ts";
import type { StoreTransaction } from "#store/port.ts";

/** Key: id; value: since when no volume has it. */
const retiredSpace = "retired-volume-id";
/** Longer than tasks wait and scripts remember. */
const retiredMs = 30 * 86_400_000;
const pruneMs = 86_400_000;

export class VolumeIds {
  readonly #clock: Clock;
  #prunedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async next(transaction: StoreTransaction, poolId: StoragePoolId, name: string): Promise<VolumeId> {
    const derived = derivedId("volume", poolId, name);
    const retiredAtMs = await transaction.getPrivate(retiredSpace, derived);
    const isRetired = typeof retiredAtMs === "number" && this.#clock.now() - retiredAtMs < retiredMs;
    return isRetired || (await transaction.get("volume", derived)) !== undefined ? newId("volume") : derived;
  }

  /** Forgets a volume that is gone. */
  async retire(transaction: StoreTransaction, { id, poolId, name }: Volume): Promise<void> {
    await transaction.delete("volume", id);
    if (id !== derivedId("volume", poolId, name)) return;
    await transaction.putPrivate(retiredSpace, id, this.#clock.now());
    await this.#prune(transaction);
  }

  async #prune(transaction: StoreTransaction): Promise<void> {
    const now = this.#clock.now();
    if (now - this.#prunedAtMs < pruneMs) return;
    this.#prunedAtMs = now;
    for (const { key, value } of await transaction.listPrivate(retiredSpace)) {
      if (typeof value !== "number" || now - value >= retiredMs) await transaction.deletePrivate(retiredSpace, key);
    }
  }
}
