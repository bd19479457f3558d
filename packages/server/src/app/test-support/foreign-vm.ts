/**
 * VMs as administrators make them without Innkeeper: one row per oddity, with what each operation on it does. `works`, or
 * the words of the refusal, which comes before anything is touched. The files are made on the lab's host, in its pool.
 */

/** The folder of the lab's pool `local`. */
export const imageFolder = "/var/lib/libvirt/images";

/** Where libvirt keeps firmware variables (libvirt 9.0 virQEMUDriverConfigNew). */
export const nvramFolder = "/var/lib/libvirt/qemu/nvram";

export const works = "works";
export type Expected = typeof works | RegExp;

export interface ForeignVm {
  readonly name: string;
  /** Shell, run on the host first; `$F` is the folder. */
  readonly prepare?: string;
  /** Inside <devices>; default: one qcow2 disk. */
  readonly devices?: string;
  /** Beside <devices>. */
  readonly more?: string;
  readonly namespaces?: string;
  /** The whole element, and features that it needs. */
  readonly os?: string;
  /** Shell, run on the host once it is defined. */
  readonly after?: string;
  /** What the inventory must show of it. */
  readonly shows?: RegExp;
  readonly start?: Expected;
  readonly memorySnapshot?: Expected;
  readonly snapshot?: Expected;
  readonly clone?: Expected;
  readonly linkedClone?: Expected;
  readonly migrate?: Expected;
  readonly rename?: Expected;
  /** Deleting it with its disks: what happens, and which of the files (by name) must stay. */
  readonly delete?: Expected;
  readonly stays?: readonly string[];
  /** The file of its firmware variables; a clone gets a copy of them. */
  readonly variables?: string;
  /** They are not its alone, and outlive it. */
  readonly sharesVariables?: boolean;
  /** Its memory is saved: what is refused before it was started once, in these words. */
  readonly saved?: RegExp;
}

export const disk = (name: string, more = "", target = "vda"): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${imageFolder}/${name}'/><target dev='${target}' bus='virtio'/>${more}</disk>`;

const block = (device: string, type: string, more = "", bus = "virtio", target = "vdb"): string =>
  `<disk type='block' device='${type}'><driver name='qemu' type='raw'/><source dev='${device}'/><target dev='${target}' bus='${bus}'/>${more}</disk>`;

/** UEFI needs it. */
const acpi = "<features><acpi/></features>";
const machine = "<type arch='x86_64' machine='q35'>hvm</type>";
/** An image that was named by hand, as virt-install writes it with --boot loader=. */
const uefiWith = (variables: string): string =>
  `<os>${machine}<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram>${variables}</nvram></os>${acpi}`;
const newVariables = (file: string): string => `cp /usr/share/OVMF/OVMF_VARS_4M.fd ${file}
  printf mark | dd of=${file} bs=1 seek=500000 conv=notrunc status=none`;

const noDisk = /no disk that could be frozen/;
const cantSave = (what: RegExp) => new RegExp(`can't be snapshotted with its memory: ${what.source}`);
const qcow2 = (...names: readonly string[]): string =>
  names.map((name) => `qemu-img create -q -f qcow2 $F/${name} 8M`).join("; ");

/** Makes the header extension of that name (QEMU docs/interop/qcow2.txt) one that nobody knows. */
const forgetBackingFormat = `python3 -c "p='$F/nf.qcow2'; b=open(p,'rb').read(); i=b.index(bytes.fromhex('e2792aca')); open(p,'wb').write(b[:i]+bytes.fromhex('12345678')+b[i+4:])"`;

/** `loop`: a loop device of this machine that the lab's host sees. */
export function foreignVms(loop: string): readonly ForeignVm[] {
  return [
    {
      name: "raw",
      prepare: "qemu-img create -q -f raw $F/raw.img 8M",
      devices: disk("raw.img").replace("qcow2", "raw"),
    },
    {
      name: "no-format-in-chain",
      // As qemu-img made them before 6.1: the layer does not say what the one below is; the XML does.
      prepare: `${qcow2("nf-0.qcow2")}; qemu-img create -q -f qcow2 -b $F/nf-0.qcow2 -F qcow2 $F/nf-1.qcow2
        qemu-img create -q -f qcow2 -b $F/nf-1.qcow2 -F qcow2 $F/nf.qcow2; ${forgetBackingFormat}`,
      devices: disk(
        "nf.qcow2",
        `<backingStore type='file'><format type='qcow2'/><source file='${imageFolder}/nf-1.qcow2'/></backingStore>`,
      ),
      snapshot: /layer .*nf.qcow2 does not say in what format .*nf-1.qcow2 below it is/,
      memorySnapshot: /does not say in what format/,
      linkedClone: /does not say in what format/,
      stays: ["nf-0.qcow2", "nf-1.qcow2"],
    },
    {
      name: "block-device",
      devices: `${disk("block-device.qcow2")}${block(loop, "disk")}`,
      shows: new RegExp(`"source":"${loop}"`),
      snapshot: /vdb.*is in no storage pool/,
      memorySnapshot: /vdb.*is in no storage pool/,
      clone: /vdb.*is in no storage pool/,
      linkedClone: /vdb.*is in no storage pool/,
    },
    {
      name: "lun",
      devices: `${disk("lun.qcow2")}<controller type='scsi' model='virtio-scsi'/>${block(loop, "lun", "", "scsi", "sda")}`,
      shows: /"device":"lun"/,
      start: /the host says/,
      snapshot: /disk sda .* is a passed-through LUN/,
      clone: /disk sda .* is a passed-through LUN/,
      linkedClone: /disk sda .* is a passed-through LUN/,
    },
    {
      name: "media",
      prepare: `${qcow2("media.qcow2")}; truncate -s 2M $F/media.iso; truncate -s 1440K $F/media.flp`,
      devices: `${disk("media.qcow2")}<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='${imageFolder}/media.iso'/><target dev='sda' bus='sata'/><readonly/></disk><disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk><disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='${imageFolder}/media.flp'/><target dev='fda' bus='fdc'/></disk>`,
      shows: /"device":"floppy"/,
      stays: ["media.iso", "media.flp"],
    },
    {
      name: "read-only-disk",
      prepare: qcow2("read-only-disk.qcow2", "ro.qcow2"),
      devices: `${disk("read-only-disk.qcow2")}${disk("ro.qcow2", "<readonly/>", "vdb")}`,
      shows: /"readOnly":true/,
      stays: ["ro.qcow2"],
    },
    {
      name: "shared-disk",
      prepare: `${qcow2("shared-disk.qcow2")}; truncate -s 8M $F/quorum.img`,
      devices: `${disk("shared-disk.qcow2")}${disk("quorum.img", "<shareable/>", "vdb").replace("'qcow2'", "'raw'")}`,
      shows: /"shareable":true/,
      snapshot: /disk vdb .* is shared with other VMs/,
      memorySnapshot: /disk vdb .* is shared with other VMs/,
      linkedClone: /disk vdb .* is shared with other VMs/,
      stays: ["quorum.img"],
    },
    {
      name: "network-disk",
      devices: `${disk("network-disk.qcow2")}<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='export'><host name='127.0.0.1' port='10809'/></source><target dev='vdb' bus='virtio'/></disk>`,
      shows: /"source":"nbd:\/\/127.0.0.1:10809\/export"/,
      start: /the host says/,
      snapshot: /disk vdb .* is not a file or device of its host/,
      clone: /disk vdb .* is not a file or device of its host/,
      linkedClone: /disk vdb .* is not a file or device of its host/,
    },
    {
      name: "volume-disk",
      devices: `<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='local' volume='volume-disk.qcow2'/><target dev='vda' bus='virtio'/></disk>`,
      shows: /"sourceType":"volume"/,
      snapshot: /is a disk of a pool's volume by name/,
      memorySnapshot: /is a disk of a pool's volume by name/,
      clone: /is a disk of a pool's volume by name/,
      linkedClone: /is a disk of a pool's volume by name/,
      stays: ["volume-disk.qcow2"],
    },
    {
      name: "transient-disk",
      devices: disk("transient-disk.qcow2", "<transient/>"),
      shows: /"transient":true/,
      snapshot: /disk vda .* is transient/,
      memorySnapshot: /disk vda .* is transient/,
      linkedClone: /disk vda .* is transient/,
    },
    {
      name: "vhost-user-disk",
      devices: `${disk("vhost-user-disk.qcow2")}<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/><source type='unix' path='/run/vhost-blk.sock'/><target dev='vdb' bus='virtio'/></disk>`,
      more: "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
      shows: /"sourceType":"vhostuser"/,
      start: /the host says/,
      snapshot: /disk vdb .*is not a file or device of its host/,
      clone: /disk vdb .*is not a file or device of its host/,
      linkedClone: /disk vdb .*is not a file or device of its host/,
    },
    {
      name: "detect-zeroes",
      devices: disk("detect-zeroes.qcow2").replace(
        "type='qcow2'",
        "type='qcow2' detect_zeroes='unmap' discard='unmap'",
      ),
    },
    {
      name: "encrypted-disk",
      // No real header: QEMU 7.2 measures how fast the machine hashes to make one, which on a busy machine takes minutes.
      prepare: "truncate -s 8M $F/encrypted-disk.luks",
      devices: disk(
        "encrypted-disk.luks",
        "<encryption format='luks'><secret type='passphrase' uuid='6b1f0d1e-0000-4000-8000-00000000abcd'/></encryption>",
      ).replace("type='qcow2'", "type='raw'"),
      shows: /"encryption":"luks"/,
      start: /the host says/,
      snapshot: /disk vda .* is encrypted/,
      clone: /disk vda .* is encrypted/,
      linkedClone: /disk vda .* is encrypted/,
    },
    {
      name: "data-file",
      prepare: "qemu-img create -q -f qcow2 -o data_file=$F/data-file.raw,data_file_raw=on $F/data-file.qcow2 8M",
      clone: /names its data in another file/,
      stays: ["data-file.raw"],
    },
    {
      name: "pci-device",
      devices: `${disk("pci-device.qcow2")}<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x7e' slot='0x10' function='0x0'/></source></hostdev>`,
      shows: /"kind":"hostdev","detail":"pci 0000:7e:10.0"/,
      start: /the host says/,
    },
    {
      name: "usb-device",
      devices: `${disk("usb-device.qcow2")}<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>`,
      shows: /"detail":"usb 0x1234:0xbeef"/,
      start: /the host says/,
    },
    {
      name: "mdev-device",
      devices: `${disk("mdev-device.qcow2")}<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>`,
      shows: /"detail":"mdev c2177883/,
      start: /the host says/,
    },
    {
      name: "host-folder",
      devices: `${disk("host-folder.qcow2")}<filesystem type='mount' accessmode='passthrough'><source dir='/srv'/><target dir='share'/></filesystem>`,
      shows: /"kind":"filesystem","detail":"mount \/srv as share"/,
      memorySnapshot: cantSave(/filesystem mount \/srv as share/),
    },
    {
      name: "memory-backing",
      more: "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
      shows: /"kind":"memoryBacking","detail":"memfd shared"/,
    },
    {
      name: "huge-pages",
      more: "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>",
      shows: /"hugepageKiB":1048576/,
      start: /the host says/,
    },
    {
      name: "iommu-watchdog",
      devices: `${disk("iommu-watchdog.qcow2")}<iommu model='intel'/><watchdog model='i6300esb' action='poweroff'/>`,
      more: "<features><acpi/><apic/><ioapic driver='qemu'/></features>",
      shows: /"kind":"watchdog","detail":"i6300esb poweroff"/,
      // QEMU's intel-iommu can't be migrated with its defaults, which saving memory is a kind of.
    },
    {
      name: "tpm",
      devices: `${disk("tpm.qcow2")}<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>`,
      shows: /"tpm":true/,
    },
    {
      name: "uefi",
      os: `<os firmware='efi'>${machine}</os>${acpi}`,
      shows: /"firmware":"uefi"/,
      variables: `${nvramFolder}/uefi_VARS.fd`,
    },
    {
      name: "own-nvram",
      prepare: `${qcow2("own-nvram.qcow2")}; ${newVariables("$F/own-nvram.fd")}`,
      os: uefiWith(`${imageFolder}/own-nvram.fd`),
      shows: /"firmware":"uefi"/,
      variables: `${imageFolder}/own-nvram.fd`,
      stays: ["own-nvram.fd"],
    },
    {
      name: "shared-nvram",
      prepare: `${qcow2("shared-nvram.qcow2")}; mkdir -p ${nvramFolder}; ${newVariables(`${nvramFolder}/both.fd`)}
        echo "<domain type='qemu'><name>other-of-both</name><description>made by hand</description><memory unit='MiB'>32</memory>
          ${uefiWith(`${nvramFolder}/both.fd`)}</domain>" > /run/other.xml; virsh -q define /run/other.xml`,
      os: uefiWith(`${nvramFolder}/both.fd`),
      shows: /"firmware":"uefi"/,
      variables: `${nvramFolder}/both.fd`,
      sharesVariables: true,
    },
    {
      name: "managed-save",
      after: "virsh -q start managed-save; virsh -q managedsave managed-save",
      saved: /memory saved/,
    },
    {
      name: "qemu-arguments",
      namespaces: "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'",
      more: "<qemu:commandline><qemu:arg value='-global'/><qemu:arg value='ICH9-LPC.disable_s3=1'/><qemu:env name='A' value='b'/></qemu:commandline>",
      shows: /"kind":"commandline","detail":"2 qemu:arg, 1 qemu:env"/,
    },
    {
      name: "custom-chardev",
      devices: `${disk("custom-chardev.qcow2")}<serial type='file'><source path='/run/custom.log' append='on'/><target port='0'/></serial><channel type='unix'><source mode='bind' path='/run/custom.sock'/><target type='virtio' name='com.example.custom'/></channel><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><memballoon model='none'/>`,
    },
    {
      name: "diskless",
      devices: "<controller type='usb' model='none'/>",
      snapshot: noDisk,
      memorySnapshot: noDisk,
      linkedClone: noDisk,
      migrate: works,
    },
  ];
}

export function domainXml(vm: ForeignVm): string {
  return `<domain type='qemu' ${vm.namespaces ?? ""}><name>${vm.name}</name><description>made by hand</description>
    <metadata><app:note xmlns:app="https://example.org/app">keep me</app:note></metadata>
    <memory unit='MiB'>32</memory><vcpu>1</vcpu>${vm.os ?? `<os>${machine}</os>`}
    ${vm.more ?? ""}<devices>${vm.devices ?? disk(`${vm.name}.qcow2`)}</devices></domain>`;
}

/** Makes the files, then the domain; defined once more as libvirt writes it, since only then it sorts all devices. */
export function makeScript(vm: ForeignVm): string {
  const prepare = vm.prepare ?? (vm.devices?.includes(`${vm.name}.qcow2`) === false ? ":" : qcow2(`${vm.name}.qcow2`));
  return `set -e; F=${imageFolder}; ${prepare}\ncat > /run/domain.xml <<'XML'\n${domainXml(vm)}\nXML\nvirsh -q define /run/domain.xml
virsh dumpxml --inactive --security-info ${vm.name} > /run/domain.xml; virsh -q define /run/domain.xml; ${vm.after ?? ":"}`;
}
