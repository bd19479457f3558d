/**
 * Domain documents of clients: what is put into them, what stays, and that nothing gets through that reaches out of the
 * guest, wherever in the document it stands.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { parseXml } from "#libvirt/xml.ts";
import type { GuestDefinition } from "#virtualization/port.ts";
import { buildDomainXml } from "./build.ts";
import { attribute, child, children, text } from "./element.ts";
import { readSpec } from "./spec.ts";

const definition: GuestDefinition = {
  uuid: "6a2f9c1e-1111-4222-8333-444455556666",
  name: "web",
  spec: {
    domainType: "kvm",
    architecture: "x86_64",
    cpu: { count: 2 },
    memory: { sizeMiB: 1024 },
    disks: [
      { target: "vda", device: "disk", bus: "virtio", sourceType: "file", source: "/pool/web.qcow2", format: "qcow2" },
      { target: "sda", device: "cdrom", bus: "sata", sourceType: "file" },
    ],
    nics: [{ mac: "52:54:00:00:00:01", type: "bridge", network: "br0", model: "virtio" }],
  },
  metadata: {
    vmId: "vm-000000000001",
    description: "",
    tags: ["a"],
    folder: "",
    template: false,
    createdAt: "2026-01-01T00:00:00Z",
    snapshots: [],
    currentSnapshotId: null,
  },
};

const disks = `<disk device="disk" snapshot="no"><driver cache="none"/><target dev="vda" bus="virtio"/><serial>S1</serial></disk>
  <disk device="cdrom"><target dev="sda" bus="sata"/><readonly/></disk>`;
const nic = `<interface><model type="virtio"/><source portgroup="dmz"/><mtu size="9000"/></interface>`;

function render(inner: string, devices = "", change: Partial<GuestDefinition> = {}): string {
  const document = `<domain type="lxc"><name>evil</name>${inner}<devices>${disks}${nic}${devices}</devices></domain>`;
  return buildDomainXml({ ...definition, document, ...change }, { emulator: "/usr/bin/qemu" });
}

suite("a client's domain document", () => {
  test("gets what the definition decides, keeps everything else", () => {
    const root = parseXml(render(`<os firmware="efi"><type machine="q35"/></os><features><acpi/></features>`));
    assert.equal(root.getAttribute("type"), "kvm");
    assert.deepEqual([text(child(root, "name")), text(child(root, "uuid"))], ["web", definition.uuid]);
    assert.equal(text(child(root, "devices/emulator")), "/usr/bin/qemu");
    const [disk, drive] = children(child(root, "devices"), "disk");
    assert.equal(attribute(child(disk, "source"), "file"), "/pool/web.qcow2");
    assert.deepEqual(
      ["name", "type", "cache"].map((name) => attribute(child(disk, "driver"), name)),
      ["qemu", "qcow2", "none"],
    );
    assert.equal(attribute(disk, "snapshot"), "no");
    assert.equal(child(drive, "source"), undefined);
    const card = child(root, "devices/interface");
    assert.deepEqual([attribute(card, "type"), attribute(child(card, "source"), "bridge")], ["bridge", "br0"]);
    assert.equal(attribute(child(card, "mtu"), "size"), "9000");
    assert.equal(attribute(child(root, "os"), "firmware"), "efi");
    assert.equal(child(root, "devices/video"), undefined, "a default of ours was added");
    const { spec } = definition;
    assert.deepEqual(readSpec(root).memory, spec.memory);
    assert.deepEqual(readSpec(root).cpu.count, 2);
  });

  test("that is none, is for another machine, or has other disks than the request, is refused", () => {
    const refused: readonly [document: string, words: RegExp][] = [
      ["no xml", /can't be used/],
      ["<network/>", /it is a <network>/],
      [`<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain>&x;</domain>`, /document type/],
      ["<domain/>", /it has no disk vda/],
      [`<domain><devices>${disks}<disk><target dev="vdb"/></disk>${nic}</devices></domain>`, /its disk "vdb" is not/],
      [`<domain><devices>${disks}</devices></domain>`, /it has 0 interfaces, the request 1/],
      [`<domain><os><type arch="aarch64"/></os><devices>${disks}${nic}</devices></domain>`, /it is for aarch64/],
    ];
    for (const [document, words] of refused) {
      assert.throws(
        () => buildDomainXml({ ...definition, document }, {}),
        (error: unknown) => error instanceof AppError && error.field === "domainXml" && words.test(error.message),
        document,
      );
    }
  });

  const outward: readonly [inner: string, devices: string][] = [
    ["<os><kernel>/boot/vmlinuz</kernel></os>", ""],
    ["<os><initrd>/boot/initrd</initrd></os>", ""],
    ["<os><dtb>/x</dtb></os>", ""],
    ["<os><loader>/evil.fd</loader></os>", ""],
    ["<os><nvram>/etc/shadow</nvram></os>", ""],
    ["<os><nvram template='/etc/shadow'/></os>", ""],
    ["<os><acpi><table type='slic'>/etc/shadow</table></acpi></os>", ""],
    ["<os><init>/bin/sh</init></os>", ""],
    ["<bootloader>/bin/sh</bootloader>", ""],
    ["<seclabel type='none'/>", ""],
    ["<resource><partition>/x</partition></resource>", ""],
    ["<memoryBacking><source type='file'/></memoryBacking>", ""],
    ["<blkiotune><device><path>/dev/sda</path></device></blkiotune>", ""],
    ["<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>", ""],
    ["<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-s'/></commandline>", ""],
    ["<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-s'/></q:commandline>", ""],
    ["", "<emulator>/bin/sh</emulator>"],
    ["", "<hostdev mode='subsystem' type='pci'/>"],
    ["", "<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem>"],
    ["", "<shmem name='x'/>"],
    ["", "<lease/>"],
    ["", "<crypto/>"],
    ["", "<serial type='file'><source path='/etc/passwd'/></serial>"],
    ["", "<serial type='pty'><log file='/etc/passwd'/></serial>"],
    ["", "<serial type='tcp'><source mode='bind' host='0.0.0.0' service='1'/></serial>"],
    ["", "<channel type='unix'><source mode='bind' path='/run/x'/></channel>"],
    ["", "<console type='dev'><source path='/dev/ttyS0'/></console>"],
    ["", "<input type='evdev'><source dev='/dev/input/event0'/></input>"],
    ["", "<input type='passthrough'/>"],
    ["", "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"],
    ["", "<tpm><backend type='emulator'><encryption secret='x'/></backend></tpm>"],
    ["", "<rng model='virtio'><backend model='random'>/dev/sda</backend></rng>"],
    ["", "<rng model='virtio'><backend model='egd' type='tcp'/></rng>"],
    ["", "<graphics type='vnc' socket='/run/x'/>"],
    ["", "<graphics type='vnc'><listen type='socket' socket='/run/x'/></graphics>"],
    ["", "<graphics type='spice'><gl rendernode='/dev/dri/renderD128'/></graphics>"],
    ["", "<graphics type='sdl' xauth='/root/.Xauthority'/>"],
    ["", "<graphics type='dbus'/>"],
    ["", "<audio id='1' type='file' path='/tmp/x'/>"],
    ["", "<redirdev bus='usb' type='tcp'><source mode='connect' host='x' service='1'/></redirdev>"],
    ["", "<smartcard mode='host'/>"],
    ["", "<video><model type='virtio'><acceleration rendernode='/dev/dri/x'/></model></video>"],
    ["", "<memory model='nvdimm'><source><path>/etc/passwd</path></source></memory>"],
    ["", "<vsock model='virtio' xmlns='urn:x'/>"],
  ];
  for (const [inner, devices] of outward) {
    test(`must not have ${inner}${devices}`, () => {
      assert.throws(
        () => render(inner, devices),
        (error: unknown) => error instanceof AppError && error.code === "unsupported" && error.field === "domainXml",
      );
    });
  }

  const inDisks: readonly string[] = [
    "<source file='/etc/shadow'/>",
    "<source><reservations managed='no'/></source>",
    "<backingStore><source file='/etc/shadow'/></backingStore>",
    "<mirror file='/x'/>",
    "<auth username='x'/>",
    "<encryption format='luks'/>",
    "<source><seclabel relabel='no'/></source>",
  ];
  for (const part of inDisks) {
    test(`nor in a disk ${part}`, () => {
      const changed = disks.replace("<serial>", `${part}<serial>`);
      const document = `<domain><devices>${changed}${nic}</devices></domain>`;
      assert.throws(() => buildDomainXml({ ...definition, document }, {}), { code: "unsupported" });
    });
  }
  for (const part of ["<script path='/x'/>", "<backend tap='/dev/x'/>", "<rom file='/x'/>", "<source dev='eth0'/>"]) {
    test(`nor in an interface ${part}`, () => {
      const changed = nic.replace("<mtu", `${part}<mtu`);
      const document = `<domain><devices>${disks}${changed}</devices></domain>`;
      assert.throws(() => buildDomainXml({ ...definition, document }, {}), { code: "unsupported" });
    });
  }
});
