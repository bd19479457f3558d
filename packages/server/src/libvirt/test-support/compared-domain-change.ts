/** Calls that change a domain, in the order in which they are made: by us on twin-a, by python on twin-b. */
import type { NonnullDomain } from "@innkeeper/libvirt";
import { type ComparedCall, effect, filled, inPython, type Remote } from "./compared-call.ts";

/** Flags by their numbers, as python's expressions have them: live 1, configuration 2. */
const live = 1;
const config = 2;
const images = "/var/lib/libvirt/images";
const domainXml = `<domain type='qemu'><name>NAME</name><memory unit='MiB'>64</memory><vcpu current='1'>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><bios useserial='yes'/></os><features><acpi/></features>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${images}/NAME.qcow2'/><target dev='vda' bus='virtio'/></disk>
  <controller type='usb' model='none'/><memballoon model='virtio'/><serial type='pty'/><console type='pty'/>
  <video><model type='vga'/></video><graphics type='vnc' port='-1' autoport='yes'/></devices></domain>`;
const checkedXml = domainXml.replaceAll("NAME", "NAME-checked");
const transientXml = `<domain type='qemu'><name>NAME-transient</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><devices><controller type='usb' model='none'/></devices></domain>`;
const diskXml = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${images}/NAME.raw'/><target dev='vdb' bus='virtio'/></disk>`;
const changedDiskXml = diskXml.replace("type='raw'", "type='raw' cache='none'");
const snapshotXml = `<domainsnapshot><name>s1</name><disks><disk name='vda' snapshot='external'><source file='${images}/NAME-s1.qcow2'/></disk></disks></domainsnapshot>`;
const backupXml =
  "<domainbackup mode='pull'><server transport='unix' socket='/run/NAME.nbd'/><disks><disk name='vda' type='file'><scratch file='/run/NAME.scratch'/></disk></disks></domainbackup>";
const offSnapshotXml = "<domainsnapshot><name>off</name></domainsnapshot>";
const savedFile = "/var/lib/libvirt/qemu/save/NAME.memory";

const domainLook = "[o.XMLDesc(), o.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), o.state(), o.autostart()]";
const byName = "[d.XMLDesc() for d in sorted(c.listAllDomains(), key=lambda d: d.name()) if d.name().startswith(n)]";

export const domainMakings: readonly ComparedCall<string>[] = [
  {
    procedure: "domainDefineXml",
    ours: (remote, name) => remote.domainDefineXml({ xml: filled(domainXml, name) }).then(() => null),
    python: `c.defineXML(${inPython(domainXml)}) and None`,
    look: "c.lookupByName(n).XMLDesc()",
  },
  {
    procedure: "domainDefineXmlFlags",
    ours: (remote) => remote.domainDefineXmlFlags({ xml: "<domain type='qemu'><nonsense/></domain>", flags: 1 }),
    python: `c.defineXMLFlags("<domain type='qemu'><nonsense/></domain>", 1)`,
    look: "c.lookupByName(n).XMLDesc()",
  },
  {
    procedure: "domainDefineXmlFlags",
    ours: (remote, name) => remote.domainDefineXmlFlags({ xml: filled(checkedXml, name), flags: 1 }).then(() => null),
    python: `c.defineXMLFlags(${inPython(checkedXml)}, 1) and None`,
    look: byName,
  },
  {
    procedure: "domainCreateXml",
    ours: (remote, name) => remote.domainCreateXml({ xmlDesc: filled(transientXml, name), flags: 1 }).then(() => null),
    python: `c.createXML(${inPython(transientXml)}, 1) and None`,
    look: byName,
  },
];

const change = (
  procedure: string,
  ours: (remote: Remote, dom: NonnullDomain) => Promise<unknown>,
  call: string,
  before?: string,
): ComparedCall<NonnullDomain> => effect(procedure, ours, call, domainLook, before);

/** On a domain that is off, then running, then off again and gone. */
export const domainChanges: readonly ComparedCall<NonnullDomain>[] = [
  change("domainSetAutostart", (remote, dom) => remote.domainSetAutostart({ dom, autostart: 1 }), "o.setAutostart(1)"),
  change("domainSetAutostart", (remote, dom) => remote.domainSetAutostart({ dom, autostart: 0 }), "o.setAutostart(0)"),
  change("domainSuspend", (remote, dom) => remote.domainSuspend({ dom }), "o.suspend()"),
  change("domainShutdownFlags", (remote, dom) => remote.domainShutdownFlags({ dom }), "o.shutdownFlags()"),
  change(
    "domainRename",
    (remote, dom) => remote.domainRename({ dom, newName: `${dom.name}-renamed` }),
    "o.rename(n + '-renamed', 0)",
  ),
  change("domainRename", (remote, dom) => remote.domainRename({ dom, newName: dom.name }), "o.rename(n, 0)"),
  change(
    "domainRename",
    (remote, dom) => remote.domainRename({ dom, newName: `${dom.name}-transient` }),
    "o.rename(n + '-transient', 0)",
  ),
  change(
    "domainSetMetadata",
    (remote, dom) => remote.domainSetMetadata({ dom, type: 0, metadata: "Grüße <&>" }),
    "o.setMetadata(0, 'Grüße <&>', None, None)",
  ),
  change(
    "domainSetVcpusFlags",
    (remote, dom) => remote.domainSetVcpusFlags({ dom, nvcpus: 2, flags: config }),
    "o.setVcpusFlags(2, 2)",
  ),
  change(
    "domainSetVcpusFlags",
    (remote, dom) => remote.domainSetVcpusFlags({ dom, nvcpus: 9, flags: config }),
    "o.setVcpusFlags(9, 2)",
  ),
  change(
    "domainSetMemoryFlags",
    (remote, dom) => remote.domainSetMemoryFlags({ dom, memory: 49_152n, flags: config }),
    "o.setMemoryFlags(49152, 2)",
  ),
  change(
    "domainSetMemoryParameters",
    (remote, dom) => remote.domainSetMemoryParameters({ dom, params: { hard_limit: 1_048_576 }, flags: config }),
    "o.setMemoryParameters({'hard_limit': 1048576}, 2)",
  ),
  change(
    "domainSetSchedulerParametersFlags",
    (remote, dom) =>
      remote.domainSetSchedulerParametersFlags({ dom, params: { cpu_shares: 512, vcpu_quota: -1 }, flags: config }),
    "o.setSchedulerParametersFlags({'cpu_shares': 512, 'vcpu_quota': -1}, 2)",
  ),
  change(
    "domainPinVcpuFlags",
    (remote, dom) => remote.domainPinVcpuFlags({ dom, vcpu: 0, cpumap: Uint8Array.of(1), flags: config }),
    "o.pinVcpuFlags(0, (True,), 2)",
  ),
  change(
    "domainPinEmulator",
    (remote, dom) => remote.domainPinEmulator({ dom, cpumap: Uint8Array.of(1), flags: config }),
    "o.pinEmulator((True,), 2)",
  ),
  change(
    "domainAddIothread",
    (remote, dom) => remote.domainAddIothread({ dom, iothreadId: 3, flags: config }),
    "o.addIOThread(3, 2)",
  ),
  change(
    "domainDelIothread",
    (remote, dom) => remote.domainDelIothread({ dom, iothreadId: 3, flags: config }),
    "o.delIOThread(3, 2)",
  ),
  change(
    "domainDelIothread",
    (remote, dom) => remote.domainDelIothread({ dom, iothreadId: 3, flags: config }),
    "o.delIOThread(3, 2)",
  ),
  change(
    "domainAttachDeviceFlags",
    (remote, dom) => remote.domainAttachDeviceFlags({ dom, xml: filled(diskXml, dom.name), flags: config }),
    `o.attachDeviceFlags(${inPython(diskXml)}, 2)`,
  ),
  change(
    "domainUpdateDeviceFlags",
    (remote, dom) => remote.domainUpdateDeviceFlags({ dom, xml: filled(changedDiskXml, dom.name), flags: config }),
    `o.updateDeviceFlags(${inPython(changedDiskXml)}, 2)`,
  ),
  change(
    "domainDetachDeviceFlags",
    (remote, dom) => remote.domainDetachDeviceFlags({ dom, xml: filled(diskXml, dom.name), flags: config }),
    `o.detachDeviceFlags(${inPython(diskXml)}, 2)`,
  ),
  change(
    "domainSetBlockIoTune",
    (remote, dom) => remote.domainSetBlockIoTune({ dom, disk: "vda", params: { total_iops_sec: 500n }, flags: config }),
    "o.setBlockIoTune('vda', {'total_iops_sec': 500}, 2)",
  ),
  change(
    "domainSnapshotCreateXml",
    (remote, dom) => remote.domainSnapshotCreateXml({ dom, xmlDesc: offSnapshotXml }),
    `o.snapshotCreateXML(${JSON.stringify(offSnapshotXml)})`,
  ),
  {
    procedure: "domainSnapshotCurrent",
    ours: async (remote, dom) => (await remote.domainSnapshotCurrent({ dom })).snap.name,
    python: "o.snapshotCurrent()",
  },
  {
    procedure: "domainSnapshotLookupByName",
    ours: async (remote, dom) => (await remote.domainSnapshotLookupByName({ dom, name: "off" })).snap.name,
    python: "o.snapshotLookupByName('off')",
  },
  change(
    "domainRevertToSnapshot",
    (remote, dom) => remote.domainRevertToSnapshot({ snap: { dom, name: "off" } }),
    "o.revertToSnapshot(o.snapshotLookupByName('off'))",
  ),
  change(
    "domainSnapshotDelete",
    (remote, dom) => remote.domainSnapshotDelete({ snap: { dom, name: "off" } }),
    "o.snapshotLookupByName('off').delete()",
  ),
  // What only real cgroups can do would keep it from starting here.
  change(
    "domainCreate",
    (remote, dom) => remote.domainCreate({ dom }),
    "o.create()",
    `c.defineXML(${inPython(domainXml)}.replace('</name>', '</name><uuid>' + o.UUIDString() + '</uuid>'))`,
  ),
  change("domainCreate", (remote, dom) => remote.domainCreate({ dom }), "o.create()"),
  change("domainSuspend", (remote, dom) => remote.domainSuspend({ dom }), "o.suspend()"),
  change("domainResume", (remote, dom) => remote.domainResume({ dom }), "o.resume()"),
  change("domainReset", (remote, dom) => remote.domainReset({ dom }), "o.reset()"),
  change("domainReboot", (remote, dom) => remote.domainReboot({ dom, flags: 1 }), "o.reboot(1)"),
  // The power button: the firmware does not listen.
  change("domainShutdownFlags", (remote, dom) => remote.domainShutdownFlags({ dom }), "o.shutdownFlags()"),
  change("domainPmWakeup", (remote, dom) => remote.domainPmWakeup({ dom }), "o.pMWakeup()"),
  change(
    "domainAttachDeviceFlags",
    (remote, dom) => remote.domainAttachDeviceFlags({ dom, xml: filled(diskXml, dom.name), flags: live }),
    `o.attachDeviceFlags(${inPython(diskXml)}, 1)`,
  ),
  change(
    "domainAttachDeviceFlags",
    (remote, dom) => remote.domainAttachDeviceFlags({ dom, xml: filled(diskXml, dom.name), flags: live }),
    `o.attachDeviceFlags(${inPython(diskXml)}, 1)`,
  ),
  change(
    "domainBlockResize",
    (remote, dom) => remote.domainBlockResize({ dom, disk: "vda", size: 2_097_152n, flags: 1 }),
    "o.blockResize('vda', 2097152, 1)",
  ),
  change(
    "domainSnapshotCreateXml",
    (remote, dom) => remote.domainSnapshotCreateXml({ dom, xmlDesc: filled(snapshotXml, dom.name), flags: 16 }),
    `o.snapshotCreateXML(${inPython(snapshotXml)}, 16)`,
  ),
  {
    procedure: "domainSnapshotGetXmlDesc",
    ours: async (remote, dom) => {
      const { snap } = await remote.domainSnapshotLookupByName({ dom, name: "s1" });
      return (await remote.domainSnapshotGetXmlDesc({ snap })).xml;
    },
    python: "o.snapshotLookupByName('s1').getXMLDesc()",
    look: "o.snapshotNum()",
  },
  change(
    "domainRevertToSnapshot",
    async (remote, dom) => remote.domainRevertToSnapshot({ snap: { dom, name: "s1" } }),
    "o.revertToSnapshot(o.snapshotLookupByName('s1'))",
  ),
  effect(
    "domainBlockCommit",
    (remote, dom) => remote.domainBlockCommit({ dom, disk: "vda", base: null, top: null, bandwidth: 0n, flags: 4 }),
    "o.blockCommit('vda', None, None, 0, 4)",
    // The XML tells how far it is.
    `[ready(o), ${domainLook}]`,
  ),
  change(
    "domainBlockJobAbort",
    (remote, dom) => remote.domainBlockJobAbort({ dom, path: "vda", flags: 2 }),
    "o.blockJobAbort('vda', 2)",
  ),
  change(
    "domainBlockJobAbort",
    (remote, dom) => remote.domainBlockJobAbort({ dom, path: "vda", flags: 2 }),
    "o.blockJobAbort('vda', 2)",
  ),
  change(
    "domainSnapshotDelete",
    async (remote, dom) => remote.domainSnapshotDelete({ snap: { dom, name: "s1" }, flags: 2 }),
    "o.snapshotLookupByName('s1').delete(2)",
  ),
  change(
    "domainSnapshotDelete",
    async (remote, dom) => remote.domainSnapshotLookupByName({ dom, name: "s1" }),
    "o.snapshotLookupByName('s1').delete(2)",
  ),
  change(
    "domainMigrateSetMaxDowntime",
    (remote, dom) => remote.domainMigrateSetMaxDowntime({ dom, downtime: 300n }),
    "o.migrateSetMaxDowntime(300)",
  ),
  change(
    "domainMigrateStartPostCopy",
    (remote, dom) => remote.domainMigrateStartPostCopy({ dom }),
    "o.migrateStartPostCopy()",
  ),
  change(
    "domainMigratePerform3Params",
    (remote, dom) =>
      remote.domainMigratePerform3Params({
        dom,
        dconnuri: "qemu+tcp://127.0.0.1:9/system",
        params: {},
        cookieIn: new Uint8Array(),
        flags: 3,
      }),
    "o.migrateToURI3('qemu+tcp://127.0.0.1:9/system', {}, 3)",
  ),
  // A backup that is pulled lasts until somebody ends it.
  effect(
    "domainAbortJob",
    (remote, dom) => remote.domainAbortJob({ dom }),
    "o.abortJob()",
    `[jobless(o), ${domainLook}]`,
    `o.backupBegin(${inPython(backupXml)}, None)`,
  ),
  change("domainAbortJob", (remote, dom) => remote.domainAbortJob({ dom }), "o.abortJob()"),
  {
    procedure: "domainScreenshot",
    ours: async (_remote, dom, connection) => {
      const { ret, readable } = await connection.stream("domainScreenshot", { dom, screen: 0 });
      await readable.cancel();
      return ret.mime;
    },
    python: "screenshot(o)",
    look: "o.isActive()",
  },
  {
    procedure: "domainOpenConsole",
    ours: async (_remote, dom, connection) => {
      const { readable } = await connection.stream("domainOpenConsole", { dom });
      await readable.cancel();
      return null;
    },
    python: "console(o)",
    look: "o.isActive()",
  },
  {
    procedure: "domainSaveImageGetXmlDesc",
    ours: async (remote, { name }) => (await remote.domainSaveImageGetXmlDesc({ file: filled(savedFile, name) })).xml,
    python: `c.saveImageGetXMLDesc(${inPython(savedFile)})`,
    look: "o.isActive()",
    before: `o.save(${inPython(savedFile)})`,
  },
  change(
    "domainRestoreFlags",
    (remote, { name }) => remote.domainRestoreFlags({ from: filled(savedFile, name) }),
    `c.restoreFlags(${inPython(savedFile)})`,
  ),
  change("domainDestroyFlags", (remote, dom) => remote.domainDestroyFlags({ dom }), "o.destroyFlags()"),
  change(
    "domainCreateWithFlags",
    (remote, dom) => remote.domainCreateWithFlags({ dom, flags: 1 }),
    "o.createWithFlags(1)",
  ),
  change("domainDestroy", (remote, dom) => remote.domainDestroy({ dom }), "o.destroy()"),
  change("domainDestroy", (remote, dom) => remote.domainDestroy({ dom }), "o.destroy()"),
  effect(
    "domainUndefineFlags",
    (remote, dom) => remote.domainUndefineFlags({ dom, flags: 127 }),
    "o.undefineFlags(127)",
    byName,
  ),
  effect(
    "domainUndefineFlags",
    (remote, dom) => remote.domainUndefineFlags({ dom, flags: 4 }),
    "o.undefineFlags(4)",
    byName,
  ),
];
