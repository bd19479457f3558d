// Snapshots of a domain, off and running, and the block jobs that merge and copy its layers.
import * as lv from "@innkeeper/libvirt";
import type { NonnullDomain } from "@innkeeper/libvirt";
import type { ConformancePart, Transcript } from "./transcript.ts";

const domainXml = (
  folder: string,
): string => `<domain type='qemu'><name>snap</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${folder}/b.qcow2'/><target dev='vda' bus='virtio'/></disk>
<memballoon model='none'/></devices></domain>`;
const named = (name: string, inner = ""): string => `<domainsnapshot><name>${name}</name>${inner}</domainsnapshot>`;
const layer = (target: string, file: string): string =>
  `<disks><disk name='${target}' snapshot='external'><source file='${file}'/></disk></disks>`;

const DISKS_ONLY = lv.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | lv.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA;
const PIVOT = lv.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT;

/** The domain in it is the domain part's matter; when it was taken is the clock's. */
const ownXml = ({ xml }: { readonly xml: string }): string =>
  xml
    .replaceAll(/ *<(domain|inactiveDomain|cookie)[ >][\s\S]*<\/\1>\n/gu, "")
    .replace(/<creationTime>\d+/u, "<creationTime>N");

export const snapshotPart: ConformancePart = {
  name: "snapshot",
  run: async (transcript) => {
    const { events, remote } = transcript.connection;
    await transcript.listen(events.domain("lifecycle"), ({ event, detail }) => `lifecycle ${event} ${detail}`);
    await transcript.listen(events.domain("blockJob2"), ({ dst, type, status }) => `job of ${dst} ${type} ${status}`);
    const { dom } = await remote.domainDefineXml({ xml: domainXml(transcript.folder) });
    await whileOff(transcript, dom);
    await whileRunning(transcript, dom);
    await layers(transcript, dom);
    await ends(transcript, dom);
  },
};

async function whileOff(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  const take = (label: string, xmlDesc: string, flags = 0) =>
    t.call(label, remote.domainSnapshotCreateXml({ dom, xmlDesc, flags }), ({ snap }) => snap.name);
  await t.call("none", remote.domainListAllSnapshots({ dom, needResults: 1 }));
  await t.call("no current one", remote.domainSnapshotCurrent({ dom }));
  await t.call("lookup", remote.domainSnapshotLookupByName({ dom, name: "none" }), () => "");
  await take("not a snapshot", "<domain/>");
  await take("slash", named("a/b"));
  await take("dot", named(".a"));
  await take("no such disk", named("x", "<disks><disk name='vdz'/></disks>"));
  await take("a disk twice", named("x", "<disks><disk name='vda'/><disk name='vda'/></disks>"));
  await take("live while off", named("x"), lv.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE);
  await take("memory without a file", named("x", "<memory snapshot='external'/>"));
  await take("relative memory file", named("x", "<memory snapshot='external' file='m'/>"));
  await take("another mode", named("x", "<disks><disk name='vda' snapshot='no'/></disks>"));
  await take("first", named("first", "<description>of all</description>"));
  await take("first again", named("first"));
  await take("second", named("second"));
  const { snap: first } = await remote.domainSnapshotLookupByName({ dom, name: "first" });
  const { snap: second } = await remote.domainSnapshotLookupByName({ dom, name: "second" });
  for (const snap of [first, second]) await t.call("XML", remote.domainSnapshotGetXmlDesc({ snap }), ownXml);
  await t.call("parent", remote.domainSnapshotGetParent({ snap: second }), ({ snap }) => snap.name);
  await t.call("no parent", remote.domainSnapshotGetParent({ snap: first }), () => "");
  await t.call("children", remote.domainSnapshotNumChildren({ snap: first }));
  await t.call(
    "leaves",
    remote.domainSnapshotListNames({ dom, maxnames: 9, flags: lv.VIR_DOMAIN_SNAPSHOT_LIST_LEAVES }),
  );
  await t.call("revert", remote.domainRevertToSnapshot({ snap: first }));
  await t.call("current", remote.domainSnapshotIsCurrent({ snap: first }));
  await t.call("delete", remote.domainSnapshotDelete({ snap: second }));
  await t.call("delete again", remote.domainSnapshotDelete({ snap: second }));
  await t.call("undefine", remote.domainUndefine({ dom }));
  await t.events("events while off", 2);
}

async function whileRunning(t: Transcript, off: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  await remote.domainCreate({ dom: off });
  const { dom } = await remote.domainLookupByName({ name: "snap" });
  await t.events("events of the start", 2);
  await t.call("with memory", remote.domainSnapshotCreateXml({ dom, xmlDesc: named("live") }), ({ snap }) => snap.name);
  const { snap } = await remote.domainSnapshotLookupByName({ dom, name: "live" });
  await t.call("its XML", remote.domainSnapshotGetXmlDesc({ snap }), ownXml);
  await t.events("events of a snapshot", 2);
  await t.call("revert", remote.domainRevertToSnapshot({ snap }));
  await t.events("events of a revert", 4);
  await t.call("state", remote.domainGetState({ dom }));
  await t.call("delete", remote.domainSnapshotDelete({ snap }));
}

async function layers(t: Transcript, off: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  const { dom } = await remote.domainLookupByName({ name: off.name });
  const file = (name: string): string => `${t.folder}/${name}`;
  const freeze = (label: string, target: string, path: string, flags = 0) =>
    t.call(
      label,
      remote.domainSnapshotCreateXml({ dom, xmlDesc: named("x", layer(target, path)), flags: DISKS_ONLY | flags }),
      () => "",
    );
  await freeze("new layer", "vda", file("l1.qcow2"));
  await freeze("file that is there", "vda", file("l1.qcow2"));
  await freeze("no such disk", "vdz", file("l2.qcow2"));
  await freeze("no such folder", "vda", "/nowhere/l2.qcow2");
  await freeze("file that is to be there", "vda", file("l2.qcow2"), lv.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT);
  await freeze("frozen without an agent", "vda", file("l2.qcow2"), lv.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE);
  await freeze("second layer", "vda", file("l2.qcow2"));
  await t.call("chain", remote.domainGetXmlDesc({ dom }), ({ xml }) =>
    [...xml.matchAll(/<source file='([^']*)'/gu)].map(([, path]) => path),
  );
  const commit = (label: string, args: object) =>
    t.call(
      label,
      remote.domainBlockCommit({ dom, disk: "vda", base: null, top: null, bandwidth: 0n, flags: 0, ...args }),
    );
  await commit("active layer without the flag", {});
  await commit("no such disk", { disk: "vdz" });
  await commit("no such base", { base: file("none"), flags: 4 });
  await commit("no such top", { top: file("none") });
  await commit("not the active layer", { top: file("l1.qcow2"), flags: 4 });
  await commit("bottom layer", { top: file("b.qcow2") });
  await t.call("no job", remote.domainGetBlockJobInfo({ dom, path: "vda" }));
  await t.call("abort none", remote.domainBlockJobAbort({ dom, path: "vda" }));
  await t.call("speed of none", remote.domainBlockJobSetSpeed({ dom, path: "vda", bandwidth: 1n }));
  await commit("merge of the layer between", { top: file("l1.qcow2"), base: file("b.qcow2") });
  await t.events("events of it", 1);
  await commit("merge of the active layer", { flags: 4 });
  await t.events("ready", 1);
  await t.call("the job", remote.domainGetBlockJobInfo({ dom, path: "vda" }), ({ found, type }) => [found, type]);
  await commit("another", { flags: 4 });
  await t.call("pivot", remote.domainBlockJobAbort({ dom, path: "vda", flags: PIVOT }));
  await t.events("events of the end", 1);
  const destxml = `<disk type='file'><source file='${file("copy.qcow2")}'/><driver type='qcow2'/></disk>`;
  const copy = (label: string, flags: number) =>
    t.call(label, remote.domainBlockCopy({ dom, path: "vda", destxml, params: {}, flags }));
  await copy("copy of a persistent one", 0);
  await copy("copy", lv.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB);
  await t.events("copy ready", 1);
  await t.call("cancel", remote.domainBlockJobAbort({ dom, path: "vda" }));
  await t.events("cancelled", 1);
  await copy("copy to a file that is there", lv.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB);
  await t.call("at the end", remote.domainGetXmlDesc({ dom }), ({ xml }) =>
    [...xml.matchAll(/<source file='([^']*)'/gu)].map(([, path]) => path),
  );
}

async function ends(t: Transcript, dom: NonnullDomain): Promise<void> {
  const { remote } = t.connection;
  const agent = (label: string) =>
    t.call(label, t.connection.qemu.domainAgentCommand({ dom, cmd: '{"execute":"guest-ping"}', timeout: 1 }));
  await agent("agent that is not configured");
  await t.call("freeze without an agent", remote.domainFsfreeze({ dom, mountpoints: [] }));
  await t.call("destroy", remote.domainDestroy({ dom }));
  await agent("agent of a guest that is off");
  await t.call("merge while off", remote.domainBlockPull({ dom, path: "vda", bandwidth: 0n }));
  await t.call("forget all", remote.domainUndefineFlags({ dom, flags: lv.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA }));
  await t.events("events of the end", 3);
}
