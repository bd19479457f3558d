import assert from "node:assert/strict";
import { test } from "node:test";
import type { VmNic, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { newGuestMetadata } from "./guest-metadata.ts";
import { type ResolvedChange, toGuestChange, toInverse, withRoom } from "./guest-change.ts";

const disk = (target: string) =>
  ({ target, device: "disk", bus: "virtio", source: `/srv/${target}`, sourceType: "file", format: "qcow2" }) as const;
const nic = (mac: string): VmNic => ({ mac, type: "network", network: "default", model: "virtio" });
const before: VmSpec = {
  domainType: "kvm",
  architecture: "x86_64",
  cpu: { count: 2, maxCount: 4 },
  memory: { sizeMiB: 1024, balloonMiB: 1024 },
  disks: [disk("vda"), disk("vdb")],
  nics: [nic("52:54:00:00:00:01"), nic("52:54:00:00:00:02")],
};
const change: ResolvedChange = {
  request: {
    cpu: { count: 3 },
    memory: { balloonMiB: 512 },
    disksAdd: [{ capacityBytes: 1 }],
    disksRemove: [{ target: "vdb" }],
    disksChange: [{ target: "vda", capacityBytes: 99, ioLimit: { totalIops: 10 } }],
    nicsAdd: [{ network: "default" }],
    nicsRemove: [{ mac: "52:54:00:00:00:02" }],
    tpm: true,
  },
  disks: [disk("vdc")],
  nics: [nic("52:54:00:00:00:03")],
  metadata: newGuestMetadata("vm-000000000000", "2026-01-01T00:00:00.000Z", {}),
};
const afterwards: VmSpec = {
  ...before,
  disks: [disk("vda"), disk("vdc")],
  nics: [nic("52:54:00:00:00:01"), nic("52:54:00:00:00:03")],
};

test("a change has what was asked for", () => {
  const guest = toGuestChange(change, before, true);
  assert.deepEqual(guest.disksAdd, [disk("vdc")]);
  assert.deepEqual(guest.disksRemove, ["vdb"]);
  assert.deepEqual(guest.disksChange, [{ target: "vda", ioLimit: { totalIops: 10 }, capacityBytes: 99 }]);
  assert.deepEqual(guest.nicsRemove, ["52:54:00:00:00:02"]);
  assert.deepEqual(guest.hardware, { tpm: true });
});

test("done again after a crash, a change leaves out what is there or gone already", () => {
  const guest = toGuestChange(change, afterwards, true);
  assert.deepEqual([guest.disksAdd, guest.disksRemove, guest.nicsAdd, guest.nicsRemove], [[], [], [], []]);
});

test("a stopped guest's disks grow through their storage, not through the hypervisor", () => {
  const guest = toGuestChange(change, before, false);
  assert.deepEqual(guest.disksChange, [{ target: "vda", ioLimit: { totalIops: 10 } }]);
});

test("the inverse takes live limits away again where there were none", () => {
  const request = {
    cpu: { limitPct: 50, pinning: [{ vcpu: 0, hostCpus: "0" }], count: 3 },
    memory: { limitMiB: 2048 },
  };
  const { count: _, ...tuning } = request.cpu;
  const now: VmSpec = { ...before, cpu: { count: 2, ...tuning }, memory: { sizeMiB: 1024, ...request.memory } };
  const inverse = toInverse({ ...change, request, disks: [], nics: [] }, before, now);
  assert.deepEqual(inverse.cpu, { limitPct: 0, pinning: [], count: 2 });
  assert.deepEqual(inverse.memory, { limitMiB: 0 });
  const unset = toInverse({ ...change, request, disks: [], nics: [] }, before, before);
  assert.deepEqual([unset.cpu, unset.memory], [{ count: 2 }, {}]);
  const limited: VmSpec = { ...before, cpu: { count: 2, limitPct: 80 } };
  assert.deepEqual(toInverse({ ...change, request }, limited, now).cpu, {
    limitPct: 80,
    pinning: [],
    count: 2,
  });
});

test("the inverse brings back what was, from wherever the change stopped", () => {
  for (const now of [before, afterwards, { ...before, nics: afterwards.nics }]) {
    const inverse = toInverse(change, before, now);
    assert.deepEqual(inverse.cpu, { count: 2 });
    assert.deepEqual(inverse.memory, { balloonMiB: 1024 });
    const targets = new Set(now.disks.map((each) => each.target));
    for (const target of inverse.disksRemove ?? []) targets.delete(target);
    for (const { target } of inverse.disksAdd ?? []) targets.add(target);
    assert.deepEqual([...targets].toSorted(), ["vda", "vdb"]);
    const macs = new Set(now.nics.map((each) => each.mac));
    for (const mac of inverse.nicsRemove ?? []) macs.delete(mac);
    for (const { mac } of inverse.nicsAdd ?? []) macs.add(mac);
    assert.deepEqual(
      [...macs].toSorted(),
      before.nics.map((each) => each.mac),
    );
  }
});

test("more vCPUs than the maximum raise it, unless the maximum is given", () => {
  assert.deepEqual(withRoom(before.cpu, { count: 6 }), { count: 6, maxCount: 6 });
  assert.deepEqual(withRoom(before.cpu, { count: 3 }), { count: 3 });
  assert.deepEqual(withRoom(before.cpu, { count: 6, maxCount: 8 }), { count: 6, maxCount: 8 });
});
