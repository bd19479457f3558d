// Domains, from their definition to their end, as every client uses them.
import * as lv from "@innkeeper/libvirt";
import type { NonnullDomain } from "@innkeeper/libvirt";
import type { ConformancePart, Transcript } from "./transcript.ts";

const Q35 = (
  folder: string,
): string => `<domain type='qemu'><name>conform</name><title>one</title><memory unit='MiB'>64</memory><vcpu current='1'>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/><apic/></features>
<cpu mode='custom' match='exact'><model>qemu64</model></cpu>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${folder}/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
<interface type='user'><model type='virtio'/></interface><serial type='pty'/>
<graphics type='vnc' port='-1' autoport='yes'/><video><model type='vga'/></video></devices></domain>`;

const PC = `<domain type='qemu'><name>plain</name><memory>65536</memory><os><type>hvm</type></os></domain>`;

const absent: NonnullDomain = { name: "nobody", uuid: "11111111-2222-4333-8444-555555555555", id: -1 };

/** Definitions that are refused, and in what words. */
const BAD: Readonly<Record<string, string>> = {
  "no name": "<domain type='qemu'><memory>1024</memory></domain>",
  "no OS": "<domain type='qemu'><name>x</name></domain>",
  "no memory": "<domain type='qemu'><name>x</name><os><type>hvm</type></os></domain>",
  "not a domain": "<network/>",
  "name with a slash": "<domain type='qemu'><name>a/b</name><memory>65536</memory><os><type>hvm</type></os></domain>",
  "two disks of one name": `<domain type='qemu'><name>x</name><memory>65536</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='/a'/><target dev='vda'/></disk><disk type='file'><source file='/b'/><target dev='vda'/></disk></devices></domain>`,
};

export const domainPart: ConformancePart = {
  name: "domain",
  run: async (transcript) => {
    await transcript.watch();
    await definitions(transcript);
    await life(transcript);
    await changes(transcript);
    await ends(transcript);
  },
};

async function definitions(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  await t.call("none", remote.connectListAllDomains({ needResults: 1, flags: 0 }));
  await t.call("lookup by name", remote.domainLookupByName({ name: "nobody" }));
  await t.call("lookup by uuid", remote.domainLookupByUuid({ uuid: absent.uuid }));
  await t.call("lookup by id", remote.domainLookupById({ id: 77 }));
  await t.call("of nobody", remote.domainGetInfo({ dom: absent }));
  for (const [label, xml] of Object.entries(BAD)) await t.call(label, remote.domainDefineXml({ xml }));
  await t.call("define", remote.domainDefineXml({ xml: Q35(t.folder) }));
  await t.call("define plain", remote.domainDefineXmlFlags({ xml: PC, flags: 0 }));
  await t.events("defined", 2);
  await t.call("define again", remote.domainDefineXml({ xml: PC.replace("65536", "65537") }));
  const { dom: conform } = await remote.domainLookupByName({ name: "conform" });
  const { dom: plain } = await remote.domainLookupByName({ name: "plain" });
  await t.call("xml", remote.domainGetXmlDesc({ dom: conform }));
  await t.call("xml of plain", remote.domainGetXmlDesc({ dom: plain }));
  await t.call("info", remote.domainGetInfo({ dom: conform }));
  await t.call("state", remote.domainGetState({ dom: conform }));
  await t.call("os", remote.domainGetOsType({ dom: conform }));
  await t.call("autostart", remote.domainGetAutostart({ dom: conform }));
  await t.call("set autostart", remote.domainSetAutostart({ dom: conform, autostart: 1 }));
  await t.call("autostart now", remote.domainGetAutostart({ dom: conform }));
  await t.call("no autostart", remote.domainSetAutostart({ dom: conform, autostart: 0 }));
  await t.call("vcpus", remote.domainGetVcpusFlags({ dom: conform, flags: lv.VIR_DOMAIN_AFFECT_CONFIG }));
  await t.call("undefine plain", remote.domainUndefineFlags({ dom: plain }));
  await t.events("undefined", 1);
  await t.call("xml of nobody", remote.domainGetXmlDesc({ dom: plain }));
}

async function life(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const { dom } = await remote.domainLookupByName({ name: "conform" });
  await t.call("destroy what is off", remote.domainDestroyFlags({ dom }));
  await t.call("suspend what is off", remote.domainSuspend({ dom }));
  await t.call("resume what is off", remote.domainResume({ dom }));
  await t.call("shut down what is off", remote.domainShutdown({ dom }));
  await t.call("reset what is off", remote.domainReset({ dom }));
  await t.call("job of what is off", remote.domainGetJobInfo({ dom }));
  await t.call("start paused", remote.domainCreateWithFlags({ dom, flags: lv.VIR_DOMAIN_START_PAUSED }));
  await t.events("started paused", 2);
  await t.call("state paused", remote.domainGetState({ dom }));
  await t.call("start again", remote.domainCreate({ dom }));
  await t.call("live xml", remote.domainGetXmlDesc({ dom }));
  await t.call(
    "migratable xml",
    remote.domainGetXmlDesc({ dom, flags: lv.VIR_DOMAIN_XML_MIGRATABLE }),
    ({ xml }) => xml.length > 500,
  );
  await t.call("resume", remote.domainResume({ dom }));
  await t.events("resumed", 1);
  await t.call("state running", remote.domainGetState({ dom }));
  await t.call("resume again", remote.domainResume({ dom }));
  await t.call("suspend", remote.domainSuspend({ dom }));
  await t.events("suspended", 1);
  await t.call("suspend again", remote.domainSuspend({ dom }));
  await t.call("rename what runs", remote.domainRename({ dom, newName: "other" }));
  await t.call("job", remote.domainGetJobStats({ dom }));
  await t.call("abort no job", remote.domainAbortJob({ dom }));
  await t.call("control", remote.domainGetControlInfo({ dom }), ({ state }) => state);
  await t.call("active", remote.domainIsActive({ dom }));
  await t.call("persistent", remote.domainIsPersistent({ dom }));
  await t.call(
    "list active",
    remote.connectListAllDomains({ needResults: 1, flags: lv.VIR_CONNECT_LIST_DOMAINS_ACTIVE }),
  );
  await t.call(
    "list paused",
    remote.connectListAllDomains({ needResults: 1, flags: lv.VIR_CONNECT_LIST_DOMAINS_PAUSED }),
    ({ ret }) => ret,
  );
  await t.call(
    "list inactive",
    remote.connectListAllDomains({ needResults: 1, flags: lv.VIR_CONNECT_LIST_DOMAINS_INACTIVE }),
  );
}

const DISK = (folder: string): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${folder}/b.qcow2'/><target dev='vdb' bus='virtio'/></disk>`;

async function changes(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const { dom } = await remote.domainLookupByName({ name: "conform" });
  const flags = lv.VIR_DOMAIN_AFFECT_LIVE;
  const xml = DISK(t.folder);
  await t.call("attach", remote.domainAttachDeviceFlags({ dom, xml, flags }));
  await t.events("attached", 1);
  await t.call("attach again", remote.domainAttachDeviceFlags({ dom, xml, flags }));
  await t.call("xml with two disks", remote.domainGetXmlDesc({ dom }));
  await t.call("too many vcpus", remote.domainSetVcpusFlags({ dom, nvcpus: 3, flags }));
  await t.call(
    "too much memory",
    remote.domainSetMemoryFlags({ dom, memory: 999_999n, flags: lv.VIR_DOMAIN_AFFECT_CONFIG }),
  );
  await t.call("memory", remote.domainSetMemoryFlags({ dom, memory: 32_768n, flags: lv.VIR_DOMAIN_AFFECT_CONFIG }));
  await t.call("definition", remote.domainGetXmlDesc({ dom, flags: lv.VIR_DOMAIN_XML_INACTIVE }));
  const metadata = { dom, flags: lv.VIR_DOMAIN_AFFECT_LIVE | lv.VIR_DOMAIN_AFFECT_CONFIG };
  const element = { type: lv.VIR_DOMAIN_METADATA_ELEMENT, key: "k", uri: "http://example.org/k" };
  await t.call("no metadata", remote.domainGetMetadata({ dom, type: element.type, uri: element.uri }));
  await t.call(
    "set metadata",
    remote.domainSetMetadata({ ...metadata, ...element, metadata: "<a b='1'><c>2</c></a>" }),
  );
  await t.events("metadata changed", 1);
  await t.call("metadata", remote.domainGetMetadata({ dom, type: element.type, uri: element.uri }));
  await t.call(
    "set title",
    remote.domainSetMetadata({
      ...metadata,
      type: lv.VIR_DOMAIN_METADATA_TITLE,
      metadata: "two",
      key: null,
      uri: null,
    }),
  );
  await t.events("title changed", 1);
  await t.call("detach nobody", remote.domainDetachDeviceFlags({ dom, xml: xml.replace("vdb", "vdz"), flags }));
  await t.call("limit", remote.domainSetBlockIoTune({ dom, disk: "vda", params: { total_iops_sec: 500n }, flags }));
  await t.call("limits", remote.domainGetBlockIoTune({ dom, disk: "vda", nparams: 20, flags }));
  await t.call("updated", remote.domainIsUpdated({ dom }));
}

async function ends(t: Transcript): Promise<void> {
  const { remote } = t.connection;
  const { dom } = await remote.domainLookupByName({ name: "conform" });
  await t.call("undefine what runs", remote.domainUndefine({ dom }));
  await t.events("transient", 1);
  await t.call("no longer persistent", remote.domainIsPersistent({ dom }));
  await t.call("no definition", remote.domainSetAutostart({ dom, autostart: 1 }));
  await t.call("destroy", remote.domainDestroy({ dom }));
  await t.events("gone", 2);
  await t.call("nobody is left", remote.connectListAllDomains({ needResults: 1, flags: 0 }));
  const defined = await t.call("define for a save", remote.domainDefineXml({ xml: Q35(t.folder) }));
  if (defined === undefined) return;
  const { dom: saved } = defined;
  await t.call("rename", remote.domainRename({ dom: saved, newName: "renamed" }));
  await t.events("renamed", 3);
  await t.call("start", remote.domainCreate({ dom: saved }));
  await t.events("started", 2);
  await t.call("managed save", remote.domainManagedSave({ dom: saved, flags: 0 }));
  await t.events("saved", 2);
  await t.call("state saved", remote.domainGetState({ dom: saved }));
  await t.call("has image", remote.domainHasManagedSaveImage({ dom: saved }));
  await t.call("undefine saved", remote.domainUndefine({ dom: saved }));
  await t.call("start saved", remote.domainCreate({ dom: saved }));
  await t.events("restored", 2);
  await t.call("state restored", remote.domainGetState({ dom: saved }));
  await files(t, saved);
  await t.call("end", remote.domainDestroyFlags({ dom: saved }));
  await t.call("forget", remote.domainUndefineFlags({ dom: saved }));
  await t.events("all over", 3);
}

/** Memory in files that the client names, and what only a guest's agent could tell. */
async function files(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  await t.call("time without an agent", remote.domainGetTime({ dom, flags: 0 }));
  await t.call("set time", remote.domainSetTime({ dom, seconds: 1_000n, nseconds: 0, flags: 0 }));
  await t.call(
    "host name without an agent",
    remote.domainGetHostname({ dom, flags: lv.VIR_DOMAIN_GET_HOSTNAME_AGENT }),
  );
  await t.call("guest info", remote.domainGetGuestInfo({ dom, types: 0, flags: 0 }));
  await t.call("file systems", remote.domainGetFsinfo({ dom, flags: 0 }));
  await t.call("password", remote.domainSetUserPassword({ dom, user: "root", password: "x", flags: 0 }));
  await t.call("trim", remote.domainFstrim({ dom, mountPoint: null, minimum: 0n, flags: 0 }));
  await t.call("thaw", remote.domainFsthaw({ dom, mountpoints: [], flags: 0 }));
  const file = `${t.folder}/memory`;
  await t.call("save nowhere", remote.domainSave({ dom, to: "/nowhere/memory" }));
  await t.events("not saved", 2);
  await t.call("save", remote.domainSaveFlags({ dom, to: file, dxml: null, flags: lv.VIR_DOMAIN_SAVE_PAUSED }));
  await t.events("saved to a file", 2);
  await t.call("state when saved", remote.domainGetState({ dom }));
  await t.call("save what is off", remote.domainSave({ dom, to: `${file}2` }));
  await t.call("image's xml", remote.domainSaveImageGetXmlDesc({ file, flags: 0 }), ({ xml }) => xml.length > 500);
  await t.call("no image's xml", remote.domainSaveImageGetXmlDesc({ file: `${file}3`, flags: 0 }));
  await t.call("restore of nothing", remote.domainRestore({ from: `${file}3` }));
  await t.call("restore", remote.domainRestore({ from: file }));
  await t.events("restored from a file", 2);
  await t.call("state when restored", remote.domainGetState({ dom }));
  await t.call("restore again", remote.domainRestoreFlags({ from: file, dxml: null, flags: 0 }));
  await t.call("resume what was restored", remote.domainResume({ dom }));
  await t.events("resumed from a file", 1);
}
