/**
 * Proof that a pool is the same storage on several hosts: a volume made on one is seen on every other that has a pool of
 * its name, then deleted. Believing it without proof would let two hosts run one VM's disks from different places.
 */
import type { StoragePool } from "@innkeeper/contract/resource/storage-pool.ts";
import { AppError } from "#core/app-error.ts";
import type { Call } from "#core/call.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import type { Providers } from "#management/providers.ts";

const cleanupDeadlineMs = 30_000;
const prefix = "innkeeper-probe-";

/** Of proofs under way. Names are random, so that one list serves all hosts: peers see the same volume. */
const underWay = new Set<string>();

export function isProbe(volumeName: string): boolean {
  return volumeName.startsWith(prefix) && /^[0-9a-f]{8}$/.test(volumeName.slice(prefix.length));
}

/** Whether it is what a proof left that a crash or a lost host ended; storage sync deletes it. */
export function isLeftProbe(volumeName: string): boolean {
  return isProbe(volumeName) && !underWay.has(volumeName);
}

/** The pools of that name on the other hosts, each proved to be the same storage. AppErrors: conflict, host_unreachable. */
export async function proveShared(
  deps: { readonly inventory: Inventory; readonly providers: Providers },
  pool: StoragePool,
  call: Call,
): Promise<readonly StoragePool[]> {
  const { inventory, providers } = deps;
  const peers = inventory.by("storage-pool", "name", pool.name).filter((peer) => peer.hostId !== pool.hostId);
  const hostName = (id: string): string => inventory.get("host", id)?.name ?? id;
  const here = providers.get(pool.hostId).storage.volume;
  const probe = `${prefix}${crypto.randomUUID().slice(0, 8)}`;
  const definition = { poolName: pool.name, name: probe, format: "raw", capacityBytes: 512 } as const;
  underWay.add(probe);
  try {
    await here.createVolume(definition, call);
    for (const peer of peers) {
      const seen = await providers.get(peer.hostId).storage.volume.findVolume(peer.name, probe, call);
      if (seen !== undefined) continue;
      throw new AppError(
        "conflict",
        `Pool ${pool.name} is not the same storage on hosts ${hostName(pool.hostId)} and ${hostName(peer.hostId)}: a volume made on the first is not seen on the second. Nothing was changed.`,
        {
          field: "shared",
          remedy: "Mount the same export at the pool's path on both hosts, or rename one of the pools.",
        },
      );
    }
  } finally {
    // What can't be deleted now, is when the pool is read next.
    const cleanup = { signal: AbortSignal.timeout(cleanupDeadlineMs) };
    await here.deleteVolume(pool.name, probe, cleanup).catch(() => undefined);
    underWay.delete(probe);
    // The peers' libvirt still lists it until their next refresh.
    for (const peer of peers) {
      const signal = AbortSignal.timeout(cleanupDeadlineMs);
      await providers
        .find(peer.hostId)
        ?.storage.pool.refreshPool(peer.name, { signal })
        .catch(() => undefined);
    }
  }
  return peers;
}
