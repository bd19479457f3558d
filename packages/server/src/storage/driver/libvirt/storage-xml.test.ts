import assert from "node:assert/strict";
import { test } from "node:test";
import { poolXml, readPoolXml } from "./pool-xml.ts";
import { readVolumeXml, volumeXml } from "./volume-xml.ts";

test("pools that are defined are read back; others are described", () => {
  const dir = { name: "d", type: "dir", path: "/srv/vm" } as const;
  assert.deepEqual(readPoolXml(poolXml(dir)), {
    type: "dir",
    path: "/srv/vm",
    source: undefined,
    networkStorage: false,
  });
  const netfs = { name: "n", type: "netfs", path: "/mnt/n", source: { host: "nfs1", path: "/export" } } as const;
  assert.deepEqual(readPoolXml(poolXml(netfs)), {
    type: "netfs",
    path: "/mnt/n",
    source: "nfs1:/export",
    networkStorage: true,
  });
  const rbd = `<pool type='rbd'><source><host name='m1'/><host name='m2'/><name>vms</name></source></pool>`;
  assert.deepEqual(readPoolXml(rbd), { type: "rbd", path: undefined, source: "m1,m2:vms", networkStorage: true });
});

test("pools that can't be are refused, naming the field", () => {
  const dir = { name: "d", type: "dir", path: "/srv/vm" } as const;
  const rows: [Parameters<typeof poolXml>[0], string][] = [
    [{ ...dir, name: "" }, "name"],
    [{ ...dir, path: "relative" }, "path"],
    [{ ...dir, path: "/srv/../etc" }, "path"],
    [{ ...dir, path: "/srv//vm" }, "path"],
    [{ ...dir, path: "/" }, "path"],
    [{ ...dir, path: "/etc" }, "path"],
    [{ ...dir, path: "/dev/shm" }, "path"],
    [{ ...dir, type: "netfs" }, "source"],
    [{ ...dir, source: { host: "a", path: "/b" } }, "source"],
    [{ ...dir, type: "netfs", source: { host: "a b", path: "/b" } }, "source.host"],
  ];
  for (const [pool, field] of rows) {
    assert.throws(() => poolXml(pool), { code: "invalid_field", field }, JSON.stringify(pool));
  }
});

test("volumes: an overlay is written and read with its layer below", () => {
  const definition = {
    poolName: "p",
    name: "o.qcow2",
    format: "qcow2",
    capacityBytes: 1 << 30,
    backing: { path: "/srv/base & co.qcow2", format: "qcow2" },
  } as const;
  const read = readVolumeXml(volumeXml(definition), "p");
  assert.equal(read.name, "o.qcow2");
  assert.equal(read.capacityBytes, 1 << 30);
  assert.equal(read.allocationBytes, 0);
  assert.equal(read.format, "qcow2");
  assert.equal(read.backingPath, "/srv/base & co.qcow2");
  const relative = "<volume><name>a</name><backingStore><path>/srv/vm/../base.qcow2</path></backingStore></volume>";
  assert.equal(readVolumeXml(relative, "p").backingPath, "/srv/base.qcow2");
});

test("volumes: names and sizes that can't be are refused", () => {
  const volume = { poolName: "p", name: "v", format: "raw", capacityBytes: 512 } as const;
  for (const name of ["", "..", "../v", "a/b", "-v", "a\nb", "x".repeat(256)]) {
    assert.throws(() => volumeXml({ ...volume, name }), { code: "invalid_field", field: "name" }, name);
  }
  for (const capacityBytes of [0, -1, 1.5, 2 ** 60]) {
    assert.throws(() => volumeXml({ ...volume, capacityBytes }), { field: "capacityBytes" }, String(capacityBytes));
  }
});

test("a block device has no format of its own; unknown formats are said to be so", () => {
  const device = `<volume type='block'><name>lv</name><capacity unit='GiB'>1</capacity><target><path>/dev/vg/lv</path></target></volume>`;
  assert.deepEqual(readVolumeXml(device, "vg"), {
    poolName: "vg",
    name: "lv",
    path: "/dev/vg/lv",
    format: "raw",
    capacityBytes: 1024 ** 3,
    allocationBytes: 0,
  });
  const odd = `<volume><name>x</name><target><path>/x</path><format type='bochs'/></target></volume>`;
  assert.equal(readVolumeXml(odd, "p").format, "unknown");
});
