/** Edits of a domain that exists: what may change, what may go, and that nothing is reached that was not reached before. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseXml, serializeXml } from "#libvirt/xml.ts";
import { parseDomain } from "./document.ts";
import { checkEdit } from "./document-edit.ts";

/** As libvirt 9.0 prints a guest that was made by hand. */
const present = `<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web</name><uuid>6a2f9c1e-1111-4222-8333-444455556666</uuid>
  <memory unit='KiB'>1048576</memory><vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram><boot dev='hd'/></os>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='/pool/web.img'/>
      <target dev='vda' bus='virtio'/><address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></disk>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/iso/debian.iso'/>
      <target dev='sda' bus='sata'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><model type='e1000e'/>
      <filterref filter='clean-traffic'/></interface>
    <serial type='pty'><target type='isa-serial' port='0'/></serial>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>
    <hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
  <seclabel type='dynamic' model='apparmor' relabel='yes'/>
  <qemu:commandline><qemu:arg value='-s'/></qemu:commandline>
</domain>`;

/** Each replaces the first text by the second. */
const accepted: readonly [what: string, before: string, after: string][] = [
  ["nothing", "", ""],
  ["what a guest does when it crashes", "<on_crash>destroy", "<on_crash>restart"],
  ["memory", "1048576", "2097152"],
  ["boot order, beside firmware files that it has", "<boot dev='hd'/>", "<boot dev='cdrom'/>"],
  [
    "how a disk is cached, and its bus",
    "cache='none'/><source file='/pool/web.img'/>",
    "io='native'/><source file='/pool/web.img'/>",
  ],
  ["the bus of a disk", "<target dev='vda' bus='virtio'/>", "<target dev='vda' bus='scsi'/><serial>S1</serial>"],
  ["a card's model", "e1000e", "virtio"],
  ["a card's address", "52:54:00:00:00:01", "52:54:00:00:00:02"],
  [
    "a device that is only the guest's",
    "<rng model='virtio'>",
    "<watchdog model='itco' action='reset'/><rng model='virtio'>",
  ],
  ["a medium taken out", "<source file='/iso/debian.iso'/>", ""],
  ["QEMU's arguments taken away", "<qemu:commandline><qemu:arg value='-s'/></qemu:commandline>", ""],
  ["white space", "<vcpu", "\n\n  <vcpu"],
  ["no name, which stays", "<name>web</name>", ""],
];

const refused: readonly [words: RegExp, before: string, after: string][] = [
  [/its name is other and not web; `inn vm rename`/, "<name>web", "<name>other"],
  [/its uuid is 7a/, "<uuid>6a", "<uuid>7a"],
  [/type is kvm and stays/, "type='kvm'", "type='lxc'"],
  [/console's password/, "port='-1'", "port='-1' passwd='x'"],
  [/devices\/disk/, "/pool/web.img", "/etc/shadow"],
  // A guest that writes its raw disk could name any file as what lies below it.
  [/devices\/disk/, "type='raw' cache", "type='qcow2' cache"],
  [/devices\/disk/, "<readonly/>", ""],
  [/devices\/disk/, "device='cdrom'", "device='disk'"],
  [/devices\/disk/, "<target dev='vda'", "<target dev='vdb'"],
  [
    /devices\/disk/,
    "<serial type",
    "<disk type='block' device='disk'><source dev='/dev/sda'/><target dev='vdz'/></disk><serial type",
  ],
  [
    /devices\/disk vda, or change what it is attached to/,
    "<target dev='vda'",
    "<backingStore type='file'><source file='/x'/></backingStore><target dev='vda'",
  ],
  [/devices\/interface/, "network='default'", "network='dmz'"],
  [/devices\/interface/, "<filterref filter='clean-traffic'/>", ""],
  [/devices\/interface/, "<interface type='network'>", "<interface type='user'>"],
  [/devices\/interface/, "<serial type", "<interface type='user'/><serial type"],
  [/devices\/hostdev/, "bus='0x01'", "bus='0x02'"],
  [/devices\/hostdev/, "<rng", "<hostdev mode='subsystem' type='usb'/><rng"],
  [/devices\/serial/, "<serial type='pty'>", "<serial type='file'><source path='/etc/passwd'/>"],
  [/devices\/rng/, "/dev/urandom", "/dev/sda"],
  [/devices\/emulator/, "/usr/bin/qemu-system-x86_64", "/bin/sh"],
  [/os\/loader/, "/usr/share/OVMF/OVMF_CODE.fd", "/x"],
  [/os\/nvram/, "/var/lib/libvirt/qemu/nvram/web_VARS.fd", "/etc/shadow"],
  [/seclabel/, "type='dynamic'", "type='none'"],
  [/qemu:commandline/, "'-s'", "'-S'"],
  [/os\/kernel/, "<boot dev", "<kernel>/boot/vmlinuz</kernel><boot dev"],
];

const edited = (before: string, after: string): string => {
  assert.ok(present.includes(before), before);
  return present.replace(before, after);
};

suite("an edit of a domain", () => {
  for (const [what, before, after] of accepted) {
    test(`may change ${what}`, () => {
      const root = parseDomain(edited(before, after));
      checkEdit(parseXml(present), root);
      assert.match(serializeXml(root), /<name>web<\/name>/);
    });
  }
  for (const [words, before, after] of refused) {
    test(`is refused for ${after || `want of ${before}`}`, () => {
      const field = "domainXml";
      const root = parseDomain(edited(before, after));
      assert.throws(() => checkEdit(parseXml(present), root), { field, message: words });
    });
  }

  test("can't use the same thing twice", () => {
    const [hostdev = ""] = /<hostdev .*<\/hostdev>/.exec(present) ?? [];
    const root = parseDomain(edited(hostdev, hostdev + hostdev));
    assert.throws(() => checkEdit(parseXml(present), root), { code: "unsupported" });
  });

  test("that is no XML, or has entities, is refused", () => {
    for (const [document, words] of [
      ["no xml", /can't be used/],
      ["<domain>", /can't be used/],
      [
        `<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain>&x;</domain>`,
        /can't be used: it has a document type/,
      ],
      ["<network/>", /it is a <network>/],
    ] as const) {
      assert.throws(() => parseDomain(document), { code: "invalid_field", field: "domainXml", message: words });
    }
  });
});
