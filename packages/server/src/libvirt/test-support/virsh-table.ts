/**
 * What virsh prints for each call that only reads, and the same told from our answer: as a whole text, as labels with
 * values (those that the call knows; virsh may print more), or as the rows of a list in any order. The words are those
 * of libvirt 9.0 tools/virsh-*.c. The rows are in the order in which they are made: `before` prepares what they show.
 */
import type { Remote } from "./compared-call.ts";
import { hostRows, listRows } from "./virsh-host.ts";
import { cpuXml, disk, row, viewedXml, type VirshRow, yes } from "./virsh-row.ts";

const guest = "twin-a-guest";

/** Files that the commands name. */
export const virshFiles: Readonly<Record<string, string>> = {
  "cpu.xml": cpuXml,
  "viewed.xml": viewedXml,
  "secret.xml": "<secret><usage type='ceph'><name>viewed</name></usage></secret>",
  "backup.xml": `<domainbackup mode='pull'><server transport='unix' socket='/run/viewed.nbd'/><disks>
    <disk name='vda' type='file'><scratch file='${disk}.scratch'/></disk></disks></domainbackup>`,
};

const stateWords = ["no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "pmsuspended"];
const pausedWords = ["unknown", "user"];
const jobWords = ["None", "Bounded", "Unbounded", "Completed", "Failed", "Cancelled"];
const operationBackup = 9;
const blockJobWords = ["Unknown job", "Block Pull", "Block Copy", "Block Commit", "Active Block Commit", "Backup"];
const [config, hmp] = [2, 1];

const scalars = (params: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, typeof value === "boolean" ? yes(Number(value)) : value]),
  );
const dom = async (remote: Remote, name = "viewed") => (await remote.domainLookupByName({ name })).dom;
const snap = async (remote: Remote) =>
  (await remote.domainSnapshotLookupByName({ dom: await dom(remote), name: "s1" })).snap;

const guestRows: readonly VirshRow[] = [
  row("domainGetGuestInfo", `guestinfo ${guest}`, async (r) =>
    scalars((await r.domainGetGuestInfo({ dom: await dom(r, guest), types: 0 })).params),
  ),
  row("domainInterfaceAddresses", `domifaddr --full --source agent ${guest}`, async (r) => {
    const { ifaces } = await r.domainInterfaceAddresses({ dom: await dom(r, guest), source: 1 });
    return ifaces.flatMap(({ name, hwaddr, addrs }) =>
      addrs.map(({ type, addr, prefix }) => [name, hwaddr, type === 0 ? "ipv4" : "ipv6", `${addr}/${prefix}`]),
    );
  }),
  row(
    "domainListAllCheckpoints",
    `checkpoint-list --name ${guest}`,
    async (r) =>
      (await r.domainListAllCheckpoints({ dom: await dom(r, guest), needResults: 1 })).checkpoints.map(({ name }) => [
        name,
      ]),
    { before: [`checkpoint-create-as ${guest} c1`] },
  ),
];

const domainRows: readonly VirshRow[] = [
  row("domainLookupByName", "domuuid viewed", async (r) => (await dom(r)).uuid, {
    before: [`checkpoint-delete ${guest} c1`],
  }),
  row("domainLookupByUuid", "dominfo viewed", async (r) => {
    const found = await r.domainLookupByUuid({ uuid: (await dom(r)).uuid });
    return { Name: found.dom.name, UUID: found.dom.uuid, Id: found.dom.id };
  }),
  row(
    "domainGetState",
    "domstate --reason viewed",
    async (r) => {
      const { state, reason } = await r.domainGetState({ dom: await dom(r) });
      return `${stateWords[state]} (${pausedWords[reason]})`;
    },
    { before: ["suspend viewed"] },
  ),
  row("domainIsActive", "dominfo viewed", async (r) => {
    const found = await dom(r);
    return { Id: (await r.domainIsActive({ dom: found })).active === 0 ? "-" : found.id };
  }),
  row("domainIsPersistent", "dominfo viewed", async (r) => ({
    Persistent: yes((await r.domainIsPersistent({ dom: await dom(r) })).persistent),
  })),
  row(
    "domainGetAutostart",
    "dominfo viewed",
    async (r) => ({
      Autostart: (await r.domainGetAutostart({ dom: await dom(r) })).autostart === 0 ? "disable" : "enable",
    }),
    { before: ["autostart viewed"] },
  ),
  row("domainGetXmlDesc", "dumpxml viewed", async (r) => (await r.domainGetXmlDesc({ dom: await dom(r) })).xml),
  row("domainGetBlockInfo", "domblkinfo viewed vda", async (r) => {
    const { capacity, allocation, physical: onDisk } = await r.domainGetBlockInfo({ dom: await dom(r), path: "vda" });
    return { Capacity: capacity, Allocation: allocation, Physical: onDisk };
  }),
  row("connectGetAllDomainStats", "domstats viewed", async (r) => {
    const { retStats } = await r.connectGetAllDomainStats({ doms: [await dom(r)], stats: 0 });
    return scalars(retStats[0]?.params ?? {});
  }),
  row("domainGetControlInfo", "domcontrol viewed", async (r) =>
    (await r.domainGetControlInfo({ dom: await dom(r) })).state === 0 ? "ok" : "not ok",
  ),
  row("domainGetDiskErrors", "domblkerror viewed", async (r) =>
    (await r.domainGetDiskErrors({ dom: await dom(r), maxerrors: 16 })).errors.length === 0
      ? "No errors found"
      : "errors",
  ),
  row(
    "domainMonitorCommand",
    "qemu-monitor-command --hmp viewed info\u00a0name",
    async (r, { qemu }) =>
      (await qemu.domainMonitorCommand({ dom: await dom(r), cmd: "info name", flags: hmp })).result,
  ),
  row(
    "domainListAllSnapshots",
    "snapshot-list --name viewed",
    async (r) =>
      (await r.domainListAllSnapshots({ dom: await dom(r), needResults: 1 })).snapshots.map(({ name }) => [name]),
    { before: [`snapshot-create-as viewed s1 --disk-only --diskspec vda,file=${disk}-s1.qcow2`] },
  ),
  row(
    "domainSnapshotCurrent",
    "snapshot-current --name viewed",
    async (r) => (await r.domainSnapshotCurrent({ dom: await dom(r) })).snap.name,
  ),
  row("domainSnapshotLookupByName", "snapshot-info viewed s1", async (r) => {
    const found = await snap(r);
    return { Name: found.name, Domain: found.dom.name };
  }),
  row(
    "domainSnapshotGetXmlDesc",
    "snapshot-dumpxml viewed s1",
    async (r) => (await r.domainSnapshotGetXmlDesc({ snap: await snap(r) })).xml,
  ),
];

const jobRows: readonly VirshRow[] = [
  row(
    "domainGetJobInfo",
    "domjobinfo viewed",
    async (r) => {
      const { type, timeElapsed } = await r.domainGetJobInfo({ dom: await dom(r) });
      return { "Job type": jobWords[type], "Time elapsed": `${timeElapsed} ms` };
    },
    { before: ["backup-begin viewed FOLDER/backup.xml"] },
  ),
  row("domainGetJobStats", "domjobinfo viewed", async (r) => {
    const { type, params } = await r.domainGetJobStats({ dom: await dom(r) });
    return {
      "Job type": jobWords[type],
      Operation: params["operation"] === operationBackup ? "Backup" : params["operation"],
      "Time elapsed": `${String(params["time_elapsed"])} ms`,
    };
  }),
  row(
    "domainGetBlockJobInfo",
    "blockjob --raw viewed vda",
    async (r) => {
      const { type, bandwidth, cur, end } = await r.domainGetBlockJobInfo({ dom: await dom(r), path: "vda" });
      return { type: blockJobWords[type], bandwidth, cur, end };
    },
    {
      before: ["domjobabort viewed", `blockcopy viewed vda --dest ${disk}-copy.qcow2 --shallow --transient-job --wait`],
    },
  ),
  row(
    "domainHasManagedSaveImage",
    "dominfo viewed",
    async (r) => ({ "Managed save": yes((await r.domainHasManagedSaveImage({ dom: await dom(r) })).result) }),
    { before: ["blockjob --abort viewed vda", "managedsave viewed"] },
  ),
  row(
    "domainSaveImageGetXmlDesc",
    "save-image-dumpxml /var/lib/libvirt/qemu/save/viewed.save",
    async (r) => (await r.domainSaveImageGetXmlDesc({ file: "/var/lib/libvirt/qemu/save/viewed.save" })).xml,
  ),
  // It is off now: of one that runs only a host with cgroups tells.
  row("domainGetSchedulerParametersFlags", "schedinfo --config viewed", async (r) =>
    scalars((await r.domainGetSchedulerParametersFlags({ dom: await dom(r), nparams: 16, flags: config })).params),
  ),
];

/** What the rows are about, made by virsh. */
export const virshMakings = [
  "vol-create-as local viewed.qcow2 1M --format qcow2",
  "define FOLDER/viewed.xml",
  "start viewed",
];
export const virshRows: readonly VirshRow[] = [...hostRows, ...listRows, ...guestRows, ...domainRows, ...jobRows];

/** Reads for which virsh has no words. */
export const withoutVirsh: Readonly<Record<string, string>> = {
  domainSnapshotNum: "virsh lists snapshots and does not count them",
  storagePoolLookupByTargetPath: "no command of virsh finds a pool by its path",
};
