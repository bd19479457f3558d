/** What ties a guest to its host by addresses, ports, disks and boot files is read from its XML. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readXml } from "#libvirt/read-xml.ts";
import { listenersOf } from "./listener.ts";
import { traitsOf } from "./migration-traits.ts";

const rows: readonly [devices: string, found: readonly string[]][] = [
  ["<graphics type='vnc' port='-1' autoport='yes'/>", ["graphics vnc undefined undefined auto"]],
  ["<graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1'/>", ["graphics vnc 127.0.0.1 5900 auto"]],
  ["<graphics type='vnc' port='5901' autoport='no' listen='0.0.0.0'/>", ["graphics vnc 0.0.0.0 5901 fixed"]],
  [
    "<graphics type='spice' autoport='yes'><listen type='address' address='FD00:0::2'/></graphics>",
    ["graphics spice fd00::2 undefined fixed"],
  ],
  [
    "<graphics type='spice' port='5902' tlsPort='5903' autoport='no'/>",
    ["graphics spice undefined 5902 fixed", "graphics spice undefined 5903 fixed"],
  ],
  [
    "<graphics type='vnc' autoport='yes'><listen type='network' network='lab' address='10.0.0.1'/></graphics>",
    ["graphics vnc undefined undefined auto"],
  ],
  ["<graphics type='vnc'><listen type='socket' socket='/run/x'/></graphics><graphics type='egl-headless'/>", []],
  [
    "<serial type='tcp'><source mode='bind' host='10.0.0.1' service='4555'/></serial><console type='tcp'><source mode='bind' host='10.0.0.1' service='4555'/></console>",
    ["serial 10.0.0.1 4555 fixed"],
  ],
  [
    "<serial type='udp'><source mode='connect' host='10.0.0.9' service='1'/><source mode='bind' service='2'/></serial>",
    ["serial undefined 2 fixed"],
  ],
  ["<serial type='tcp'><source mode='connect' host='10.0.0.9' service='1'/></serial>", []],
  ["<serial type='unix'><source mode='bind' path='/run/x'/></serial>", []],
  [
    "<interface type='server'><mac address='52:54:00:00:00:01'/><source address='10.0.0.1' port='5558'/></interface>",
    ["interface 52:54:00:00:00:01 10.0.0.1 5558 fixed"],
  ],
];

test("addresses and ports that the hypervisor opens", () => {
  for (const [devices, expected] of rows) {
    const found = listenersOf(readXml(`<domain><devices>${devices}</devices></domain>`));
    const told = found.map(
      ({ device, address, port, isFixed }) => `${device} ${address} ${port} ${isFixed ? "fixed" : "auto"}`,
    );
    assert.deepEqual(told, expected, devices);
  }
});

test("a port that libvirt chose is none of those that must be free on another host, whatever the address", () => {
  const graphics = "<graphics type='vnc' port='5900' autoport='yes' listen='10.0.0.1'/>";
  const { listeners } = traitsOf(readXml(`<domain><devices>${graphics}</devices></domain>`));
  assert.deepEqual(
    listeners.map(({ address, port }) => [address, port]),
    [["10.0.0.1", undefined]],
  );
});

test("disks that only their host has, and files that it boots with", () => {
  assert.deepEqual(kinds(disk("nvme", "type='pci' namespace='1'><address bus='6'/>")), ["nvme-disk"]);
  assert.deepEqual(kinds(disk("vhostuser", "type='unix' path='/run/x'>")), ["host-disk"]);
  assert.deepEqual(kinds(disk("vhostvdpa", "dev='/dev/vhost-vdpa-0'>")), ["host-disk"]);
  assert.deepEqual(kinds(disk("network", "protocol='nbd'><host transport='unix' socket='/run/x'/>")), ["host-disk"]);
  assert.deepEqual(kinds(disk("network", "protocol='rbd' name='p/i'><host name='10.0.0.9'/>")), []);
  const boot =
    "<domain><os><kernel>/k</kernel><initrd>/i</initrd><acpi><table type='slic'>/t</table></acpi></os></domain>";
  assert.deepEqual(
    traitsOf(readXml(boot)).bootFiles.map(({ kind, path }) => `${kind} ${path}`),
    ["kernel /k", "initrd /i", "ACPI table /t"],
  );
});

function disk(type: string, source: string): string {
  return `<disk type='${type}'><source ${source}</source><target dev='vda'/></disk>`;
}

function kinds(devices: string): string[] {
  return traitsOf(readXml(`<domain><devices>${devices}</devices></domain>`)).devices.map(({ kind }) => kind);
}
