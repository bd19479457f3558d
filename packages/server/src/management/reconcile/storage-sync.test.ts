/** Pools that come and go while a pass reads the others; how real ones are read, the lab's tests tell. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { hostDraft } from "#app/test-support/host-draft.ts";
import { silentLogger } from "#core/log.ts";
import { systemClock } from "#core/system-clock.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import type { HostPool } from "#storage/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";
import { JoinedWrites } from "./joined-write.ts";
import type { ReconcileDeps } from "./reconcile-deps.ts";
import { StorageSync } from "./storage-sync.ts";

const hostId = "host-000000000001";
const call = { signal: AbortSignal.timeout(20_000) };

function pool(name: string): HostPool {
  const sizes = { capacityBytes: 100, allocationBytes: 0, availableBytes: 100 };
  const is = { type: "dir", state: "running", persistent: true, autostart: true, networkStorage: false } as const;
  return { uuid: `uuid-${name}`, name, ...is, ...sizes, path: `/${name}` };
}

/** A host with these pools; `onRead` is called when the volumes of one are listed. */
async function fixture(...names: string[]) {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-storage-"));
  const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  await store.transaction((transaction) => transaction.put("host", hostDraft(hostId, "kvm1")));
  const inventory = await Inventory.open(store);
  const pools = new Map(names.map((name) => [name, pool(name)]));
  const on: { read?: (name: string) => Promise<void>; volumes?: string[] } = {};
  const storage = {
    pool: {
      listPools: async () => [...pools.values()],
      findPool: async (name: string) => pools.get(name),
      refreshPool: async (name: string) => pools.get(name),
      removeLeft: async () => 0,
    },
    volume: {
      async listVolumes(name: string) {
        await on.read?.(name);
        const is = { poolName: name, format: "raw", capacityBytes: 512, allocationBytes: 512 };
        return (on.volumes ?? []).map((each) => ({ ...is, name: each, path: `/${name}/${each}` }));
      },
      async deleteVolume(_poolName: string, name: string) {
        on.volumes = (on.volumes ?? []).filter((each) => each !== name);
      },
    },
  };
  const writes = new JoinedWrites(store, systemClock);
  const deps = {
    store,
    inventory,
    writes,
    clock: systemClock,
    log: silentLogger,
    providers: { get: () => ({ storage }) },
  };
  const sync = new StorageSync(deps as unknown as ReconcileDeps);
  return {
    pools,
    on,
    syncAll: () => sync.syncAll(hostId, { refresh: false }, call),
    syncPool: (name: string) => sync.syncPool(hostId, name, { refresh: false }, call),
    volumes: () =>
      inventory
        .list("volume")
        .map(({ name }) => name)
        .toSorted(),
    stored: () => inventory.list("storage-pool").map(({ name }) => name),
    async [Symbol.asyncDispose]() {
      inventory[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

test("a pass keeps a pool that was made while it ran", async () => {
  await using under = await fixture("a");
  under.on.read = async (name) => {
    if (name !== "a") return;
    under.pools.set("new", pool("new"));
    await under.syncPool("new");
  };
  await under.syncAll();
  assert.deepEqual(under.stored().toSorted(), ["a", "new"]);
});

test("a pass does not write back a pool that was deleted while it ran", async () => {
  await using under = await fixture("a", "b");
  under.on.read = async (name) => {
    if (name !== "a") return;
    under.pools.delete("b");
    await under.syncPool("b");
  };
  await under.syncAll();
  assert.deepEqual(under.stored(), ["a"]);
});

test("a pass forgets a pool that is gone, and follows one that was renamed", async () => {
  await using under = await fixture("a", "b", "c");
  await under.syncAll();
  under.pools.delete("b");
  under.pools.delete("c");
  under.pools.set("d", { ...pool("c"), name: "d" });
  await under.syncAll();
  assert.deepEqual(under.stored().toSorted(), ["a", "d"]);
});

test("a probe that a proof left behind is deleted and never shown; what is only called so stays", async () => {
  await using under = await fixture("a");
  under.on.volumes = ["innkeeper-probe-0a1b2c3d", "innkeeper-probe-of-mine", "disk.raw"];
  await under.syncAll();
  assert.deepEqual(under.on.volumes, ["innkeeper-probe-of-mine", "disk.raw"]);
  assert.deepEqual(under.volumes(), ["disk.raw", "innkeeper-probe-of-mine"]);
});
