/** What tasks claim by themselves, on an inventory of a few resources: hosts, pools and volumes, and never both ways. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Inventory } from "#management/inventory/inventory.ts";
import { hostClaim, tasksOnHost, withSharedClaims } from "#management/task/resource-claim.ts";
import { diskClaims } from "#management/vm/disk-claim.ts";

const resources: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>> = {
  host: [
    { id: "host-1", name: "rack1" },
    { id: "host-2", name: "rack2" },
  ],
  vm: [
    {
      id: "vm-1",
      name: "web",
      hostId: "host-1",
      spec: {
        disks: [{ target: "vda", source: "/pool/web.qcow2", backingChain: ["/pool/base.img"] }, { target: "sda" }],
      },
    },
  ],
  "storage-pool": [
    { id: "pool-1", name: "fast", hostId: "host-1", type: "dir", path: "/pool", shared: false },
    { id: "pool-2", name: "nfs", hostId: "host-1", type: "netfs", path: "/mnt/a", shared: true },
    { id: "pool-3", name: "nfs", hostId: "host-2", type: "netfs", path: "/mnt/b", shared: true },
  ],
  volume: [{ id: "vol-1", name: "data.img", poolId: "pool-3", hostId: "host-2", path: "/mnt/b/data.img" }],
  image: [{ id: "img-1", name: "debian", hostId: "host-1", path: "/mnt/a/debian.qcow2" }],
  snapshot: [{ id: "snap-1", vmId: "vm-1" }],
  task: [
    { id: "task-1", target: { kind: "vm", id: "vm-1" } },
    { id: "task-2", target: { kind: "vm", id: "vm-1" }, finishedAt: "2026-01-01T00:00:00.000Z" },
    { id: "task-3", target: { kind: "host", id: "host-1" } },
    { id: "task-4" },
  ],
};
const of = (kind: string, field: string, value: string) =>
  (resources[kind] ?? []).filter((resource) => resource[field] === value);
/** The reads of an inventory that claims are made of. */
const inventory = {
  get: (kind: string, id: string) => of(kind, "id", id)[0],
  by: of,
  byHost: (kind: string, hostId: string) => of(kind, "hostId", hostId),
  list: (kind: string) => resources[kind] ?? [],
} as unknown as Inventory;

const sharedBy = (target: { kind: string; id: string } | undefined, input: unknown, exclusive: string[] = []) =>
  withSharedClaims(inventory, { exclusive }, target, input).shared;

test("a task shares the host of its target, and its VM's volumes with the layers below them", () => {
  const ofVm = ["host:host-1", "volume:host-1:fast:web.qcow2", "volume:host-1:fast:base.img"];
  assert.deepEqual(sharedBy({ kind: "vm", id: "vm-1" }, { vmId: "vm-1" }), ofVm);
  assert.deepEqual(sharedBy({ kind: "snapshot", id: "snap-1" }, {}), ofVm);
  assert.deepEqual(sharedBy({ kind: "volume", id: "vol-1" }, {}), ["host:host-2", "storage-pool:pool-3"]);
  assert.deepEqual(sharedBy({ kind: "image", id: "img-1" }, {}), ["host:host-1"]);
  assert.deepEqual(sharedBy({ kind: "vm", id: "gone" }, {}), []);
});

test("a task shares the host that its request names or whose pool it names", () => {
  assert.deepEqual(sharedBy(undefined, { request: { host: "rack2" } }), ["host:host-2"]);
  assert.deepEqual(sharedBy(undefined, { request: { host: "host-1" } }), ["host:host-1"]);
  assert.deepEqual(sharedBy(undefined, { request: { poolId: "pool-1" } }), ["host:host-1", "storage-pool:pool-1"]);
  assert.deepEqual(sharedBy(undefined, { request: { uri: "qemu:///system" } }), []);
  const migration = sharedBy({ kind: "vm", id: "vm-1" }, { vmId: "vm-1", request: { host: "rack2" } });
  assert.deepEqual(migration?.slice(0, 2), ["host:host-1", "host:host-2"]);
});

test("what is claimed exclusively is not claimed shared, too", () => {
  assert.deepEqual(sharedBy({ kind: "host", id: "host-1" }, {}, [hostClaim("host-1")]), []);
});

test("tasks on a host: those that have not ended, and whose target is there", () => {
  assert.deepEqual(
    tasksOnHost(inventory, "host-1").map((task) => task.id),
    ["task-1"],
  );
});

test("disks: a volume that is written is claimed alone, what is read is shared, shared storage has one name", () => {
  const written = "volume:shared:nfs:data.img";
  assert.deepEqual(diskClaims(inventory, undefined, [{ volumeId: "vol-1" }]), { exclusive: [written], shared: [] });
  assert.deepEqual(diskClaims(inventory, "host-1", [{ path: "/mnt/a/data.img", readOnly: true }]), {
    exclusive: [],
    shared: [written],
  });
  assert.deepEqual(diskClaims(inventory, "host-1", [{ path: "/mnt/a/x.iso", device: "cdrom" }]).exclusive, []);
  assert.deepEqual(diskClaims(inventory, undefined, [{ path: "/pool/x.img" }]).exclusive, ["volume:host-1:fast:x.img"]);
  assert.deepEqual(diskClaims(inventory, "host-2", [{ image: "debian", linked: true }, { capacityBytes: 1 }]), {
    exclusive: [],
    shared: ["image:img-1", "volume:shared:nfs:debian.qcow2"],
  });
});
