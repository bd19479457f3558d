/** Edits of domain XML that golden pairs do not show: what is there already, and what must stay. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import { applyChange } from "./apply-change.ts";
import { differences, pendingChanges, withConfiguredModel, withoutFullPins } from "./compare.ts";
import { cpuMap, parseCpuSet } from "./cpu-set.ts";
import { editMetadata, metadataXml, readMetadata } from "./metadata.ts";
import { retarget } from "./retarget.ts";
import { readSpec } from "./spec.ts";

const domain = (content: string, attributes = "type='kvm'") => parseXml(`<domain ${attributes}>${content}</domain>`);
const field = (name: string) => (error: unknown) => error instanceof AppError && error.field === name;

suite("sets of CPUs", () => {
  test("are read as libvirt does", () => {
    assert.deepEqual(parseCpuSet("0-3,8,^2"), [0, 1, 3, 8]);
    assert.deepEqual(parseCpuSet("5"), [5]);
    for (const bad of ["", "a", "3-1", "1,,2", "0-99999999", "-1"]) assert.equal(parseCpuSet(bad), undefined, bad);
    assert.deepEqual([...cpuMap([0, 9], 12)], [1, 2]);
    assert.deepEqual([...cpuMap([99], 8)], [0]);
  });
});

suite("boot order", () => {
  const devices = `<devices>
    <disk device='cdrom'><target dev='sda' bus='sata'/></disk>
    <disk><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/></interface></devices>`;

  test("the old form is turned into one number per device, and others make room", () => {
    const root = domain(`<os><type>hvm</type><boot dev='hd'/><boot dev='network'/></os>${devices}`);
    applyChange(root, { disksChange: [{ target: "sda", bootOrder: 1 }] });
    const { disks, nics } = readSpec(root);
    assert.deepEqual(
      [...disks, ...nics].map((device) => device.bootOrder),
      [1, 2, 3],
    );
    assert.doesNotMatch(serializeXml(root), /<boot dev=/);
    applyChange(root, { disksChange: [{ target: "vda", bootOrder: 9 }] });
    assert.deepEqual(
      readSpec(root).disks.map((disk) => disk.bootOrder),
      [1, 9],
    );
  });
});

suite("devices", () => {
  test("one that an undone change gives back is what it was, also where the contract can't tell it", () => {
    const before = `<domain><devices><disk type='file'><source file='/x.luks'/><target dev='vdb' bus='virtio'/>
      <encryption format='luks'/><address type='pci' slot='0x05'/></disk>
      <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><filterref filter='clean-traffic'/></interface></devices></domain>`;
    const { disks, nics } = readSpec(parseXml(before));
    const root = domain("<devices/>");
    applyChange(root, { disksAdd: disks, nicsAdd: nics, devicesFrom: before });
    assert.deepEqual(readSpec(root).disks, disks);
    assert.match(serializeXml(root), /<encryption format="luks"\/>/);
    assert.match(serializeXml(root), /<filterref filter="clean-traffic"\/>/);
    assert.doesNotMatch(serializeXml(root), /<address/);
  });
});

suite("CPU and memory", () => {
  test("a maximum that nobody named grows with the count; a topology that fits stays", () => {
    const root = domain("<vcpu current='2'>4</vcpu><cpu><topology sockets='2' dies='1' cores='2' threads='1'/></cpu>");
    applyChange(root, { cpu: { maxCount: 8 } });
    assert.deepEqual(readSpec(root).cpu, { count: 2, maxCount: 8, topology: { sockets: 4, cores: 2, threads: 1 } });
    applyChange(root, { cpu: { maxCount: 7 } });
    assert.equal(readSpec(root).cpu.topology, undefined);
    assert.throws(() => applyChange(root, { cpu: { count: 9, maxCount: 8 } }), field("cpu.count"));
    const topology = { sockets: 1, cores: 3, threads: 1 };
    assert.throws(() => applyChange(root, { cpu: { topology, maxCount: 4, count: 1 } }), field("cpu.topology"));
  });

  test("the list of vCPUs follows the count", () => {
    const list = [0, 1, 2].map(
      (id) => `<vcpu id='${id}' enabled='${id < 2 ? "yes" : "no"}' hotpluggable='no' order='${id + 1}'/>`,
    );
    const root = domain(`<vcpu current='2'>3</vcpu><vcpus>${list.join("")}</vcpus>`);
    assert.equal(readSpec(root).cpu.count, 2);
    applyChange(root, { cpu: { count: 1 } });
    assert.equal(readSpec(root).cpu.count, 1);
    applyChange(root, { cpu: { count: 4, maxCount: 4 } });
    assert.deepEqual(readSpec(root).cpu, { count: 4, maxCount: 4 });
  });

  test("limits are taken away by 0; a CPU quota per vCPU, which is not modelled, stays", () => {
    const root = domain(
      "<memtune><hard_limit unit='G'>1</hard_limit></memtune><memory>1048576</memory><cputune><quota>5</quota><global_quota>200000</global_quota></cputune>",
    );
    assert.equal(readSpec(root).cpu.limitPct, 200);
    assert.equal(readSpec(root).memory.limitMiB, 1024);
    applyChange(root, { cpu: { limitPct: 0 }, memory: { limitMiB: 0, hugepageKiB: 0, locked: false } });
    assert.match(serializeXml(root), /<quota>5<\/quota>/);
    assert.doesNotMatch(serializeXml(root), /global_quota|memtune|memoryBacking/);
  });

  test("the balloon follows the size unless it had a target; NUMA cells must add up", () => {
    const root = domain("<memory unit='GiB'>2</memory><currentMemory unit='GiB'>2</currentMemory>");
    applyChange(root, { memory: { sizeMiB: 3000 } });
    assert.deepEqual(readSpec(root).memory, { sizeMiB: 3000 });
    applyChange(root, { memory: { balloonMiB: 1000 } });
    applyChange(root, { memory: { sizeMiB: 4000 } });
    assert.deepEqual(readSpec(root).memory, { sizeMiB: 4000, balloonMiB: 1000 });
    assert.throws(() => applyChange(root, { memory: { balloonMiB: 4001 } }), field("memory.balloonMiB"));
    applyChange(root, {
      memory: {
        numaCells: [
          { cpus: "0", memoryMiB: 500 },
          { cpus: "1", memoryMiB: 700 },
        ],
      },
    });
    assert.equal(readSpec(root).memory.sizeMiB, 1200);
    assert.throws(() => applyChange(root, { memory: { sizeMiB: 4000 } }), field("memory.sizeMiB"));
    applyChange(root, { memory: { numaCells: [] } });
    assert.equal(readSpec(root).memory.numaCells, undefined);
  });

  test("a CPU model keeps the features that were chosen with it", () => {
    const root = domain(
      "<cpu mode='custom' match='exact'><model>Haswell</model><feature policy='disable' name='hle'/></cpu>",
    );
    applyChange(root, { cpu: { model: "EPYC" } });
    assert.match(serializeXml(root), /<feature policy="disable" name="hle"\/>/);
    assert.equal(readSpec(root).cpu.model, "EPYC");
    applyChange(root, { cpu: { model: "host-passthrough" } });
    assert.doesNotMatch(serializeXml(root), /<model/);
  });
});

suite("hardware", () => {
  test("another machine family drops the addresses and bridges of the old one, and only those", () => {
    const root = domain(`<os><type machine='pc-i440fx-7.2'>hvm</type></os><devices>
      <controller type='pci' model='pci-root'/><controller type='scsi' model='virtio-scsi'><address type='pci' slot='0x05'/></controller>
      <hostdev mode='subsystem' type='pci'><source><address type='pci' domain='0x0000' bus='0x06'/></source><address type='pci' slot='0x07'/></hostdev>
      <channel type='unix'><address type='virtio-serial' port='1'/></channel></devices>`);
    applyChange(root, { hardware: { machine: "q35" } });
    const xml = serializeXml(root);
    assert.doesNotMatch(xml, /slot=/);
    assert.match(xml, /<source><address type="pci" domain="0x0000" bus="0x06"\/><\/source>/);
    assert.match(xml, /virtio-serial/);
    assert.match(xml, /pcie-root-port/);
    assert.doesNotMatch(xml, /model="pci-root"/);
  });

  test("firmware that is there already is left alone, also when it was named by hand", () => {
    const byHand = "<os><loader readonly='yes' type='pflash'>/my/OVMF.fd</loader><nvram>/my/vars.fd</nvram></os>";
    const root = domain(byHand);
    applyChange(root, { hardware: { firmware: "uefi" } });
    assert.match(serializeXml(root), /\/my\/vars\.fd/);
    applyChange(root, { hardware: { firmware: "uefi-secure" } });
    assert.equal(readSpec(root).firmware, "uefi-secure");
    assert.match(serializeXml(root), /<smm state="on"\/>/);
    applyChange(root, { hardware: { firmware: "bios" } });
    assert.doesNotMatch(serializeXml(root), /smm|loader|firmware/);
  });
});

suite("another identity", () => {
  const xml = `<name>a</name><uuid>11111111-1111-1111-1111-111111111111</uuid><genid>22222222-2222-2222-2222-222222222222</genid>
    <metadata><x:x xmlns:x='urn:x'/><i:vm xmlns:i='https://innkeeper.dev/xmlns/domain/1.0' id='vm-1'/></metadata>
    <os firmware='efi'><nvram>/n/a.fd</nvram></os>
    <sysinfo><system><entry name='uuid'>11111111-1111-1111-1111-111111111111</entry></system></sysinfo>
    <devices><disk type='block'><driver name='qemu' type='raw'/><source dev='/dev/x' index='3'/><backingStore><source/></backingStore><target dev='vda'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><target dev='vnet3'/></interface></devices>`;

  test("is complete, and nothing of others is lost", () => {
    const root = domain(xml, "type='kvm' id='7'");
    const uuid = "33333333-3333-3333-3333-333333333333";
    const disks = new Map([["vda", { path: "/new/b.qcow2", format: "qcow2" }]]);
    retarget(root, { name: "b", uuid, disks, newMacs: true });
    const text = serializeXml(root);
    assert.doesNotMatch(text, /1111|2222|backingStore|index=|vnet3|nvram|id="7"|52:54:00:00:00:01/);
    assert.match(text, /<x:x xmlns:x="urn:x"\/>/);
    assert.equal(readMetadata(root), undefined);
    const { source, sourceType, format } = readSpec(root).disks[0] ?? {};
    assert.deepEqual({ source, sourceType, format }, { source: "/new/b.qcow2", sourceType: "file", format: "qcow2" });
  });

  test("the same guest keeps its firmware variables and metadata", () => {
    const root = domain(xml);
    retarget(root, { name: "b" });
    assert.match(serializeXml(root), /\/n\/a\.fd/);
    assert.equal(readMetadata(root)?.vmId, "vm-1");
    assert.throws(() => retarget(root, { disks: new Map([["vdz", { path: "/x", format: "raw" }]]) }), field("disks"));
  });
});

suite("metadata", () => {
  const metadata = {
    vmId: "vm-1",
    description: "a\n<b>",
    tags: ["x", "ü"],
    folder: 'R&D "x"/ü',
    template: true,
    createdAt: "2026-01-01T00:00:00.000Z",
    snapshots: [{ name: "\u0000\uffff\ud800 ]]> &amp;" }],
    currentSnapshotId: "snap-1",
  };

  test("comes back as it was, whatever it holds", () => {
    const root = domain("<name>a</name>");
    editMetadata(root, metadata);
    assert.deepEqual(readMetadata(parseXml(serializeXml(root))), metadata);
    assert.doesNotMatch(metadataXml(root) ?? "", /innkeeper:|xmlns/);
    editMetadata(root, { ...metadata, description: "", snapshots: [], tags: [], folder: "" });
    assert.doesNotMatch(serializeXml(root), /description|snapshot>|folder/);
    const other = serializeXml(root).replace("template=", 'folder="/a//b" template=');
    assert.equal(readMetadata(parseXml(other))?.folder, "", "what others wrote and no folder can be");
    assert.throws(() => editMetadata(root, { ...metadata, description: "a\u0007" }), field("description"));
  });
});

suite("what the next start changes", () => {
  const live = domain(
    "<vcpu>2</vcpu><cpu mode='custom'><model>EPYC</model></cpu><cputune><vcpupin vcpu='0' cpuset='0-7'/></cputune>",
  );
  const next = domain("<vcpu>4</vcpu><cpu mode='host-model'/>");

  test("a CPU mode that was resolved is no change, nor a pin to every CPU", () => {
    const present = withoutFullPins(readSpec(live), 8);
    assert.deepEqual(pendingChanges(present, readSpec(next)), ["cpu.count", "cpu.maxCount"]);
    assert.equal(withConfiguredModel(present, readSpec(next)).cpu.model, "host-model");
    assert.deepEqual(differences(readSpec(live), readSpec(live)), []);
  });
});
