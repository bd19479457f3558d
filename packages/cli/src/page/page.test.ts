/** Pages for people: snapshot trees, CPU ranges, addresses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Snapshot } from "@innkeeper/contract/resource/snapshot.ts";
import { ranges } from "#page/host.ts";
import { snapshotTree } from "#page/snapshot.ts";
import { addressesOf } from "#page/vm.ts";

function idOf(value: number): Snapshot["id"] {
  return `snap-${String(value).padStart(12, "0")}` as Snapshot["id"];
}

function snapshot(number: number, parent: number | null, current = false): Snapshot {
  return {
    id: idOf(number),
    revision: 1,
    vmId: "vm-000000000000",
    name: `s${number}`,
    description: "",
    parentId: parent === null ? null : idOf(parent),
    current,
    withMemory: number % 2 === 0,
    quiesced: false,
    vmState: "running",
    disks: [],
    createdAt: new Date(1_000_000_000_000 + number * 1000).toISOString(),
  };
}

test("snapshots are shown as the tree that they are, whatever their order", () => {
  const all = [snapshot(5, 2, true), snapshot(1, null), snapshot(3, 2), snapshot(2, 1), snapshot(4, 1)];
  const lines = snapshotTree(all).map((line) => line.replace(/\s+\(.*?ago\)\)/, ""));
  assert.deepEqual(lines, ["s1", "├─ s2", "│  ├─ s3", "│  └─ s5  ◀ the VM is here", "└─ s4"]);
});

test("snapshots that others keep are marked as such", () => {
  const [line] = snapshotTree([{ ...snapshot(1, null), source: "libvirt" }]);
  assert.match(line ?? "", /^s1 {2}\(disks only, kept by libvirt, /);
});

test("a snapshot whose parent is not in the list is a root, and a long chain is no trouble", () => {
  assert.equal(snapshotTree([snapshot(2, 99)]).length, 1);
  const chain = Array.from({ length: 2000 }, (_unused, index) => snapshot(index, index === 0 ? null : index - 1));
  assert.equal(snapshotTree(chain).length, 2000);
});

test("CPU numbers are written as ranges", () => {
  assert.equal(ranges([]), "");
  assert.equal(ranges([3, 0, 1, 2, 8, 10, 11]), "0-3,8,10-11");
});

test("addresses leave out what leads nowhere, IPv4 first", () => {
  const addresses = ["fe80::1", "2001:db8::1", "127.0.0.1", "10.0.0.5", "::1", "10.0.0.5"].map((address) => ({
    address,
    source: "agent" as const,
  }));
  assert.deepEqual(addressesOf({ addresses }), ["10.0.0.5", "2001:db8::1"]);
});
