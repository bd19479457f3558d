// What of a domain is changed piece by piece: I/O threads, disks that grow, media, how often counters are taken; memory that
// the host keeps; domains without a definition.
import * as lv from "@innkeeper/libvirt";
import type { NonnullDomain } from "@innkeeper/libvirt";
import type { ConformancePart, Transcript } from "./transcript.ts";

const NAME = "pieces";
const XML = (folder: string, name: string): string => `<domain type='qemu'><name>${name}</name>
<memory unit='MiB'>64</memory><vcpu>1</vcpu><iothreads>1</iothreads><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${folder}/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
<memballoon model='virtio'/></devices></domain>`;
const TRANSIENT = `<domain type='qemu'><name>fleeting</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><memballoon model='none'/></devices></domain>`;
const drive = (target: string, source: string): string =>
  `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>${source}<target dev='${target}' bus='sata'/><readonly/></disk>`;

const LIVE = lv.VIR_DOMAIN_AFFECT_LIVE;
const CONFIG = lv.VIR_DOMAIN_AFFECT_CONFIG;
const MIB = 1_048_576n;

export const piecePart: ConformancePart = {
  name: "pieces of a domain",
  run: async (t) => {
    const { events, remote } = t.connection;
    await t.listen(events.domain("lifecycle"), ({ event, detail }) => `lifecycle ${event} ${detail}`);
    await t.listen(events.domain("blockJob2"), ({ dst, type, status }) => `job of ${dst} ${type} ${status}`);
    await commandLines(t);
    const { dom: off } = await remote.domainDefineXml({ xml: XML(t.folder, NAME) });
    await threads(t, off, CONFIG);
    await threads(t, off, LIVE);
    await disks(t, off);
    await media(t, off, CONFIG);
    await counters(t, off, CONFIG);
    await notes(t, off);
    await remote.domainCreate({ dom: off });
    await t.events("started", 3);
    const { dom } = await remote.domainLookupByName({ name: NAME });
    await threads(t, dom, LIVE);
    await disks(t, dom);
    await media(t, dom, LIVE);
    await counters(t, dom, LIVE);
    await transient(t);
    await kept(t, dom);
  },
};

async function commandLines(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const native = (label: string, nativeFormat: string, domainXml: string) =>
    t.call(label, remote.connectDomainXmlToNative({ nativeFormat, domainXml, flags: 0 }), ({ nativeConfig }) =>
      nativeConfig.includes(`guest=${NAME}`),
    );
  await native("command line", "qemu-argv", XML(t.folder, NAME));
  await native("of another format", "what", XML(t.folder, NAME));
  await native("of no domain", "qemu-argv", "<network/>");
}

async function threads(t: Transcript, dom: NonnullDomain, flags: number): Promise<void> {
  const { remote } = t.connection;
  const list = () =>
    t.call("I/O threads", remote.domainGetIothreadInfo({ dom, flags }), ({ info }) =>
      // A running one tells them in QEMU's order.
      info.map(({ iothreadId }) => iothreadId).toSorted((a, b) => a - b),
    );
  await list();
  await t.call("one more", remote.domainAddIothread({ dom, iothreadId: 4, flags }));
  await t.call("the same", remote.domainAddIothread({ dom, iothreadId: 4, flags }));
  await t.call("number 0", remote.domainAddIothread({ dom, iothreadId: 0, flags }));
  await list();
  await t.call("one fewer", remote.domainDelIothread({ dom, iothreadId: 4, flags }));
  await t.call("none such", remote.domainDelIothread({ dom, iothreadId: 9, flags }));
  await list();
}

async function disks(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  const bytes = lv.VIR_DOMAIN_BLOCK_RESIZE_BYTES;
  const resize = (label: string, disk: string, size: bigint, flags: number) =>
    t.call(label, remote.domainBlockResize({ dom, disk, size, flags }));
  await resize("grow", "vda", 65n * MIB, bytes);
  await resize("grow, in KiB", "vda", (66n * MIB) / 1024n, 0);
  await resize("grow no disk", "vdz", 80n * MIB, bytes);
  await resize("grow an empty drive", "sda", 80n * MIB, bytes);
  await t.call("capacity", remote.domainGetBlockInfo({ dom, path: "vda" }), ({ capacity }) => capacity);
  const rebase = (label: string, path: string, base: string | null, flags = 0) =>
    t.call(label, remote.domainBlockRebase({ dom, path, base, bandwidth: 0n, flags }));
  await rebase("rebase no disk", "vdz", null);
  await rebase("rebase onto nothing", "vda", `${t.folder}/none`);
  await rebase("copy of a persistent one", "vda", `${t.folder}/rebased.qcow2`, lv.VIR_DOMAIN_BLOCK_REBASE_COPY);
}

async function media(t: Transcript, dom: NonnullDomain, flags: number): Promise<void> {
  const { remote } = t.connection;
  const put = (label: string, xml: string) =>
    t.call(label, remote.domainUpdateDeviceFlags({ dom, xml, flags }), () => "");
  await put("a medium", drive("sda", `<source file='${t.folder}/b.qcow2'/>`));
  const inactive = flags === CONFIG ? lv.VIR_DOMAIN_XML_INACTIVE : 0;
  const shown = (label: string) =>
    t.call(label, remote.domainGetXmlDesc({ dom, flags: inactive }), ({ xml }) =>
      [...xml.matchAll(/<source file='([^']*)'/gu)].map(([, path]) => path),
    );
  await shown("media");
  await put("another drive", drive("sdz", ""));
  const nowhere = drive("sda", "<source file='/nowhere/b.iso'/>");
  await put("a file that is not there", nowhere);
  if (flags === LIVE) {
    const xml = nowhere
      .replace("cdrom", "disk")
      .replace("<target dev='sda' bus='sata'/>", "<target dev='vdb' bus='virtio'/>");
    await t.call("attach one that is not there", remote.domainAttachDeviceFlags({ dom, xml, flags }));
  }
  await put("no device", "<domain/>");
  await put("no medium", drive("sda", ""));
  await shown("media now");
}

async function counters(t: Transcript, dom: NonnullDomain, flags: number): Promise<void> {
  const { remote } = t.connection;
  const period = (label: string, seconds: number) =>
    t.call(label, remote.domainSetMemoryStatsPeriod({ dom, period: seconds, flags }));
  const inactive = flags === CONFIG ? lv.VIR_DOMAIN_XML_INACTIVE : 0;
  const shown = (label: string) =>
    t.call(label, remote.domainGetXmlDesc({ dom, flags: inactive }), ({ xml }) => /<stats[^>]*>/u.exec(xml)?.[0]);
  await period("every 7 s", 7);
  await shown("period");
  await period("never", 0);
  await shown("no period");
}

async function notes(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  await t.call("messages", remote.domainGetMessages({ dom, flags: 0 }));
  await t.call("checkpoints", remote.domainListAllCheckpoints({ dom, needResults: 1, flags: 0 }));
  await t.call("no saved memory", remote.domainManagedSaveGetXmlDesc({ dom, flags: 0 }), () => "");
  await t.call("remove none", remote.domainManagedSaveRemove({ dom, flags: 0 }));
}

async function transient(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const create = (label: string, xmlDesc: string) =>
    t.call(label, remote.domainCreateXml({ xmlDesc, flags: 0 }), ({ dom }) => dom.name);
  await create("no domain", "<network/>");
  await create("a name that is taken", TRANSIENT.replace("fleeting", NAME));
  await create("without a definition", TRANSIENT);
  await t.events("it runs", 2);
  await create("again", TRANSIENT);
  const { dom } = await remote.domainLookupByName({ name: "fleeting" });
  await t.call("persistent", remote.domainIsPersistent({ dom }));
  await t.call("saved by its host", remote.domainManagedSave({ dom, flags: 0 }));
  await t.call("threads of its definition", remote.domainAddIothread({ dom, iothreadId: 4, flags: CONFIG }));
  await t.call("end", remote.domainDestroy({ dom }));
  await t.events("it is gone", 2);
  await t.call("nobody", remote.domainLookupByName({ name: "fleeting" }));
}

async function kept(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  await t.call("managed save", remote.domainManagedSave({ dom, flags: 0 }));
  await t.events("saved", 2);
  await t.call("its document", remote.domainManagedSaveGetXmlDesc({ dom, flags: 0 }), ({ xml }) =>
    xml.includes(`<name>${NAME}</name>`),
  );
  await t.call("remove it", remote.domainManagedSaveRemove({ dom, flags: 0 }));
  await t.call("is it there", remote.domainHasManagedSaveImage({ dom, flags: 0 }));
  await t.call("state", remote.domainGetState({ dom, flags: 0 }));
  await t.call("undefine", remote.domainUndefine({ dom }));
  await t.events("forgotten", 1);
}
