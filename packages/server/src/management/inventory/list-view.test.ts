/** Lists that are kept show what anew made ones show, whatever changes between the pages; indexes only narrow. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import type { Kind } from "@innkeeper/contract/id.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import { resourceTable } from "@innkeeper/contract/resource/table.ts";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { hostDraft } from "#app/test-support/host-draft.ts";
import { candidates } from "#management/inventory/candidate.ts";
import { Inventory } from "#management/inventory/inventory.ts";
import { listPage } from "#management/inventory/list-page.ts";
import { readListQuery } from "#management/inventory/list-query.ts";
import { ListViews } from "#management/inventory/list-view.ts";
import type { Draft } from "#store/port.ts";
import { openSqliteStore } from "#store/sqlite/sqlite-store.ts";

const hostCount = 20;
const clusterCount = 3;
/** More than are made anew each time. */
const vmCount = 2300;
const states = ["running", "shutoff", "paused"] as const;
const clusterIdOf = (index: number) => `cluster-${String(index).padStart(12, "0")}` as const;
const hostId = (index: number) => `host-${String(index).padStart(12, "0")}` as const;

function host(index: number, change: Partial<Host> = {}): Draft<"host"> {
  const clusterId = index % 4 === 0 ? {} : { clusterId: clusterIdOf(index % clusterCount) };
  return hostDraft(hostId(index), `kvm${index % 7}-${index}`, { tags: [`rack${index % 4}`], ...clusterId, ...change });
}

function cluster(index: number, name = `c${index}`): Draft<"cluster"> {
  return { id: clusterIdOf(index), name, description: "", createdAt: "2026-01-01T00:00:00.000Z" };
}

function vm(index: number, change: Partial<Vm> = {}): Draft<"vm"> {
  return {
    id: vmId(index),
    uuid: `uuid-${index}`,
    name: `web-${(index * 7919) % vmCount}`,
    hostId: hostId(index % hostCount),
    state: states[index % 3] ?? "running",
    stateDetail: "booted",
    description: index % 5 === 0 ? "The Shop" : "",
    tags: index % 10 === 0 ? ["prod", `t${index % 30}`] : [],
    template: false,
    persistent: true,
    managed: true,
    spec: {
      domainType: "kvm",
      architecture: "x86_64",
      cpu: { count: 1 + (index % 4) },
      memory: { sizeMiB: 1024 * (1 + (index % 8)) },
      disks: [],
      nics: [{ mac: `52:54:00:00:00:${String(index % 90).padStart(2, "0")}`, type: "network", network: "default" }],
    },
    pendingChanges: [],
    addresses: index % 3 === 0 ? [{ address: `10.0.${index % 200}.1`, source: "lease" }] : [],
    guestAgentConnected: false,
    currentSnapshotId: null,
    foreignSnapshotCount: 0,
    createdAt: "2026-01-01T00:00:00.000Z",
    ...change,
  };
}

const read = (query: ListQuery) => readListQuery(query, resourceTable.vm, "name");
const vmId = (index: number) => `vm-${String(index).padStart(12, "0")}` as const;

async function fixture() {
  const folder = await mkdtemp(path.join(tmpdir(), "inn-list-"));
  const store = await openSqliteStore({ file: path.join(folder, "store.sqlite") });
  await store.transaction(async (transaction) => {
    for (let index = 0; index < clusterCount; index++) await transaction.put("cluster", cluster(index));
    for (let index = 0; index < hostCount; index++) await transaction.put("host", host(index));
    for (let index = 0; index < vmCount; index++) await transaction.put("vm", vm(index));
  });
  const inventory = await Inventory.open(store);
  const lists = new ListViews(inventory);
  const related = (kind: Kind, id: string) => inventory.get(kind, id);
  return {
    store,
    inventory,
    page: (query: ListQuery) => lists.page("vm", read(query)),
    changedAt: (query: ListQuery) => lists.changedAt("vm", read(query)),
    /** Without indexes, and with nothing kept. */
    plain: (query: ListQuery) => listPage(inventory.list("vm"), read(query), inventory.revision, related),
    candidates: (filter: string) => candidates(inventory, "vm", read({ filter }).filter),
    async [Symbol.asyncDispose]() {
      lists[Symbol.dispose]();
      inventory[Symbol.dispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

const filters = [
  "",
  "state=running",
  "state=running and memoryMiB>=4096 and tag:prod",
  "tag:prod or tag:t3",
  "not state=running",
  "shop",
  "10.0.7",
  "host=kvm3-3",
  "host.tag=rack1 and state=paused",
  "host.tag!=rack1",
  "cluster=c1",
  "host.cluster=c2 and state=running",
  "cluster=null",
  "cluster~c and not cluster=c0",
  "ip=10.0.9.1 or mac=52:54:00:00:00:11",
  "name~EB-12",
  "name~renamed",
  "memoryMiB~204 and name~9",
  "tag~t3 or mac~00:11",
  "not description~shop",
  "host~3-3 and name~1",
];
const sorts = ["name", "-memoryMiB,name", "host.name", "state", "cluster,name", "-host.cluster,host"];

test("a kept list is what one made anew is, while VMs and hosts come, go and change", async () => {
  await using under = await fixture();
  const change = fc.oneof(
    fc.record({ what: fc.constant("vm"), index: fc.nat(vmCount + 20), memory: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ what: fc.constant("gone"), index: fc.nat(vmCount), memory: fc.constant(0) }),
    // Some come that were not there when a list was made, and are renamed or go while VMs are on them.
    fc.record({ what: fc.constant("host"), index: fc.nat(hostCount + 3), memory: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ what: fc.constant("joined"), index: fc.nat(hostCount), memory: fc.nat(clusterCount) }),
    fc.record({ what: fc.constant("cluster"), index: fc.nat(clusterCount), memory: fc.nat(5) }),
    fc.record({ what: fc.constant("cluster gone"), index: fc.nat(clusterCount), memory: fc.constant(0) }),
    fc.record({ what: fc.constant("host gone"), index: fc.nat(hostCount + 3), memory: fc.constant(0) }),
    fc.record({ what: fc.constant("renamed"), index: fc.nat(vmCount + 20), memory: fc.nat(9) }),
    fc.record({ what: fc.constant("moved"), index: fc.nat(vmCount), memory: fc.nat(hostCount + 3) }),
  );
  const query = fc.record({ filter: fc.constantFrom(...filters), sort: fc.constantFrom(...sorts) });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 5 }), query, async (changes, wanted) => {
      await under.store.transaction(async (transaction) => {
        for (const { what, index, memory } of changes) {
          if (what === "host")
            await transaction.put("host", host(index, { name: `kvm${memory}-x`, tags: [`rack${memory}`] }));
          else if (what === "joined") await transaction.put("host", host(index, { clusterId: clusterIdOf(memory) }));
          else if (what === "cluster") await transaction.put("cluster", cluster(index, `c${memory}`));
          else if (what === "cluster gone") await transaction.delete("cluster", clusterIdOf(index));
          else if (what === "host gone") await transaction.delete("host", hostId(index));
          else if (what === "moved") await transaction.put("vm", vm(index, { hostId: hostId(memory) }));
          else if (what === "renamed")
            await transaction.put("vm", vm(index, { name: `Renamed-${memory}`, description: `Shop ${memory}` }));
          else if (what === "gone") await transaction.delete("vm", vm(index).id);
          else {
            const { spec } = vm(index);
            await transaction.put("vm", vm(index, { spec: { ...spec, memory: { sizeMiB: memory * 1024 } } }));
          }
        }
      });
      let cursor: string | undefined;
      for (let pages = 0; pages < 3; pages++) {
        const asked = {
          ...wanted,
          limit: 40,
          fields: "name,hostId,spec.memory",
          ...(cursor === undefined ? {} : { cursor }),
        };
        const page = under.page(asked);
        assert.deepEqual(page, under.plain(asked), JSON.stringify(asked));
        cursor = page.nextCursor;
        if (cursor === undefined) break;
      }
    }),
    { numRuns: 200 },
  );
});

test("a list by host follows a host that came after it was made: there is a VM on it, it is renamed, it goes", async () => {
  await using under = await fixture();
  const assertWhole = (what: string): void => {
    const asked = { sort: "host.name", fields: "name,hostId", limit: 40 };
    assert.deepEqual(under.page(asked), under.plain(asked), what);
  };
  const put = (name: string) => under.store.transaction((transaction) => transaction.put("host", host(50, { name })));
  assertWhole("first");
  await put("zz");
  assertWhole("came");
  await under.store.transaction((transaction) => transaction.put("vm", vm(5, { hostId: hostId(50) })));
  assertWhole("with a VM");
  await put("aa");
  assertWhole("renamed");
  await under.store.transaction((transaction) => transaction.delete("host", hostId(50)));
  assertWhole("gone");
  await put("bb");
  assertWhole("back, with a VM that named it meanwhile");
});

test("a host that changes its cluster, and a cluster that is renamed, cost the VMs that are there alone", async (t) => {
  await using under = await fixture();
  const asked = { sort: "cluster,name", fields: "name,hostId", limit: 40 };
  under.page(asked);
  const listed = t.mock.method(under.inventory, "values");
  const placed = t.mock.method(under.inventory, "get");
  await under.store.transaction((transaction) => transaction.put("host", host(4, { clusterId: clusterIdOf(1) })));
  const moved = under.page(asked);
  // Each VM by its id, and on the way to its cluster's name.
  assert.ok(placed.mock.callCount() < 10 * (vmCount / hostCount), `${placed.mock.callCount()}`);
  await under.store.transaction((transaction) => transaction.put("cluster", cluster(2, "a")));
  const renamed = under.page(asked);
  assert.equal(listed.mock.callCount(), 0, "nothing was made anew");
  assert.notDeepEqual(moved.items, renamed.items);
  assert.deepEqual(renamed, under.plain(asked));
});

test("indexes narrow a filter to few, and never leave out what matches", async () => {
  await using under = await fixture();
  for (const filter of filters) {
    const found = under.candidates(filter);
    if (found === undefined) continue;
    const ids = new Set(found.list().map(({ id }) => id));
    assert.ok(found.count >= ids.size);
    for (const item of under.plain({ filter, limit: 3000 }).items) assert.ok(ids.has(JSON.parse(item).id), filter);
  }
  assert.equal(under.candidates("name=web-7")?.count, 1);
  assert.equal(under.candidates("state=running and host=kvm3-3")?.count, vmCount / hostCount);
  assert.equal(under.candidates("cluster=c1")?.count, (vmCount / hostCount) * 5);
  assert.equal(under.candidates("state=running or memoryMiB>1"), undefined);
  assert.equal(under.candidates("host=null"), undefined);
});

test("a list tells since when nothing in it can have changed", async () => {
  await using under = await fixture();
  const before = { own: under.changedAt({}), related: under.changedAt({ sort: "host.name" }) };
  await under.store.transaction((transaction) => transaction.put("host", host(1, { description: "new" })));
  assert.equal(under.changedAt({}), before.own);
  assert.notEqual(under.changedAt({ sort: "host.name" }), before.related);
  await under.store.transaction((transaction) => transaction.put("vm", vm(1, { description: "new" })));
  assert.equal(under.changedAt({}), under.inventory.revision);
});
