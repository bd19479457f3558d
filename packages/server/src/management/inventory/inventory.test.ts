/** The inventory follows the store, finds by name and reference, and its changes have no gap. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { newId } from "@innkeeper/contract/id.ts";
import type { Network } from "@innkeeper/contract/resource/network.ts";
import { AppError } from "#core/app-error.ts";
import { failingStore } from "#management/task/engine-fixture.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import type { ChangeGap } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

async function fixture() {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-inventory-"));
  const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  const inventory = await Inventory.open(store);
  const put = (name: string, change: Partial<Network> = {}): Promise<Network> =>
    store.transaction((transaction) =>
      transaction.put("network", {
        id: newId("network"),
        hostId: "host-000000000001",
        name,
        uuid: "u",
        active: true,
        autostart: false,
        forwardMode: "nat",
        addresses: [],
        dhcp: false,
        ...change,
      }),
    );
  return {
    store,
    inventory,
    put,
    async [Symbol.asyncDispose]() {
      inventory[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

test("what was committed is read at once, by id, name and host; renamed and deleted is followed", async () => {
  await using under = await fixture();
  const { inventory, store } = under;
  const network = await under.put("default");
  assert.deepEqual(inventory.get("network", network.id), network);
  assert.equal(inventory.require("network", "default").id, network.id);
  assert.equal(inventory.byHost("network", "host-000000000001").length, 1);
  await under.put("renamed", { id: network.id });
  assert.throws(() => inventory.require("network", "default", { field: "nics.0.network" }), {
    code: "not_found",
    field: "nics.0.network",
  });
  const twin = await under.put("renamed", { hostId: "host-000000000002" });
  assert.throws(() => inventory.require("network", "renamed"), { code: "conflict" });
  assert.equal(inventory.require("network", "renamed", { hostId: "host-000000000002" }).id, twin.id);
  await store.transaction((transaction) => transaction.delete("network", network.id));
  assert.equal(inventory.require("network", "renamed").id, twin.id);
  assert.throws(() => inventory.require("network", network.id), { code: "not_found" });
  using again = await Inventory.open(store);
  assert.deepEqual(again.list("network"), inventory.list("network"));
  assert.equal(again.revision, inventory.revision);
});

test("what is read is shared and can't be changed by accident", async () => {
  await using under = await fixture();
  await under.put("default");
  const network = under.inventory.require("network", "default");
  assert.throws(() => network.addresses.push("x"), TypeError);
});

test("changes come in order without gap, from memory or the store, and live", { timeout: 20_000 }, async () => {
  await using under = await fixture();
  for (let index = 0; index < 30; index++) await under.put(`n${index}`);
  using reopened = await Inventory.open(under.store);
  const abort = new AbortController();
  const revisions: number[] = [];
  const reading = (async () => {
    for await (const change of reopened.changes(10, abort.signal)) {
      revisions.push(change.revision);
      if (change.revision === 60) abort.abort();
    }
  })();
  for (let index = 0; index < 30; index++) await under.put(`m${index}`);
  await reading;
  assert.deepEqual(
    revisions,
    Array.from({ length: 50 }, (_, index) => index + 11),
  );
  await assert.rejects(reopened.changes(1000, new AbortController().signal).next(), { code: "precondition_failed" });
  await under.store.prune({ changes: 5, events: 1, tasks: 1 });
  using later = await Inventory.open(under.store);
  await assert.rejects(later.changes(3, new AbortController().signal).next(), { code: "precondition_failed" });
});

test("over a gap in the change log it comes to what is; listeners hear what is different, readers that they missed some", async () => {
  await using under = await fixture();
  const [same, renamed, gone] = [await under.put("same"), await under.put("old name"), await under.put("gone")];
  const listeners: ((gap: ChangeGap) => void)[] = [];
  const store = {
    ...failingStore(under.store, () => undefined),
    onGap: (listener: (gap: ChangeGap) => void) => {
      listeners.push(listener);
      return () => {};
    },
    changesSince: () => Promise.reject(new AppError("precondition_failed", "too long ago")),
  };
  using inventory = await Inventory.open(store);
  const reader = inventory.changes(inventory.revision, AbortSignal.timeout(10_000)).next();
  const heard: string[] = [];
  inventory.onChange((changes) => heard.push(...changes.map(({ operation, id }) => `${operation} ${id}`)));
  const present = { ...renamed, name: "new name", revision: 11 };
  const added = { ...same, id: newId("network"), name: "added", revision: 12 };
  const changes = [present, added].map(
    (resource) =>
      ({ revision: resource.revision, kind: "network", id: resource.id, operation: "put", resource }) as const,
  );
  const there = new Set<string>([same.id, renamed.id, added.id]);
  for (const tell of listeners) tell({ revision: 15, changes, has: (_, id) => there.has(id) });
  assert.equal(inventory.revision, 15);
  assert.deepEqual(heard, [`delete ${gone.id}`, `put ${renamed.id}`, `put ${added.id}`]);
  assert.deepEqual(
    inventory
      .list("network")
      .map(({ name }) => name)
      .toSorted(),
    ["added", "new name", "same"],
  );
  await assert.rejects(reader, { code: "precondition_failed" });
  await assert.rejects(inventory.checkResumable(14), { code: "precondition_failed" });
  await inventory.checkResumable(15);
});
