/**
 * What virsh prints for each call that only reads, and the same told from our answer: as a whole text, as labels with
 * values (those that the call knows; virsh may print more), or as the rows of a list in any order. The words are those
 * of libvirt 9.0 tools/virsh-*.c. The rows are in the order in which they are made: `before` prepares what they show.
 */
import type { Connection } from "@innkeeper/libvirt";
import type { Remote } from "./compared-call.ts";

type Told = string | Readonly<Record<string, unknown>> | readonly (readonly unknown[])[];

export interface VirshRow {
  readonly procedure: string;
  /** Words of virsh's command line; `FOLDER` is where `virshFiles` are. */
  readonly command: string;
  readonly told: (remote: Remote, connection: Connection) => Promise<Told>;
  readonly columns?: readonly number[];
  readonly drifts?: true;
  /** virsh's command lines that come first. */
  readonly before?: readonly string[];
}

const guest = "twin-a-guest";
const disk = "/var/lib/libvirt/images/viewed";
const cpuXml = '<cpu match="exact"><model fallback="forbid">qemu64</model></cpu>';
const viewedXml = `<domain type='qemu'><name>viewed</name>
  <uuid>00000000-0000-4000-8000-000000000009</uuid><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}.qcow2'/>
  <target dev='vda' bus='virtio'/></disk><serial type='pty'/></devices></domain>`;

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
const poolStateWords = ["inactive", "building", "running", "degraded", "inaccessible"];
const jobWords = ["None", "Bounded", "Unbounded", "Completed", "Failed", "Cancelled"];
const operationBackup = 9;
const blockJobWords = ["Unknown job", "Block Pull", "Block Copy", "Block Commit", "Active Block Commit", "Backup"];
const secretWords = ["none", "volume", "ceph", "iscsi", "tls", "vtpm"];
const compareWords = ["is incompatible with host CPU", "is identical to host CPU"];
const cpuStatWords: Readonly<Record<string, string>> = { kernel: "system" };
const [config, hmp, physical] = [2, 1, 1];

const yes = (is: number): string => (is === 0 ? "no" : "yes");
const kibibytes = (bytes: bigint): string => `${bytes / 1_024n} KiB`;
const version = (number: bigint): string =>
  [number / 1_000_000n, (number / 1_000n) % 1_000n, number % 1_000n].join(".");
const scalars = (params: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, typeof value === "boolean" ? yes(Number(value)) : value]),
  );
const dom = async (remote: Remote, name = "viewed") => (await remote.domainLookupByName({ name })).dom;
const net = async (remote: Remote) => (await remote.networkLookupByName({ name: "default" })).net;
const pool = async (remote: Remote) => (await remote.storagePoolLookupByName({ name: "local" })).pool;
const vol = async (remote: Remote) =>
  (await remote.storageVolLookupByName({ pool: await pool(remote), name: "viewed.qcow2" })).vol;
const snap = async (remote: Remote) =>
  (await remote.domainSnapshotLookupByName({ dom: await dom(remote), name: "s1" })).snap;

const row = (
  procedure: string,
  command: string,
  told: VirshRow["told"],
  rest: Pick<VirshRow, "columns" | "drifts" | "before"> = {},
): VirshRow => ({ procedure, command, told, ...rest });

const hostRows: readonly VirshRow[] = [
  row("connectGetCapabilities", "capabilities", async (r) => (await r.connectGetCapabilities()).capabilities),
  row(
    "connectGetDomainCapabilities",
    "domcapabilities --arch x86_64 --machine q35 --virttype qemu",
    async (r) =>
      (await r.connectGetDomainCapabilities({ arch: "x86_64", machine: "q35", virttype: "qemu" })).capabilities,
  ),
  row("connectGetHostname", "hostname", async (r) => (await r.connectGetHostname()).hostname),
  row("connectGetLibVersion", "version --daemon", async (r) => ({
    "Running against daemon": version((await r.connectGetLibVersion()).libVer),
  })),
  row("connectGetType", "version", async (r) => ({
    "Using API": `${(await r.connectGetType()).type} ${version((await r.connectGetLibVersion()).libVer)}`,
  })),
  row("connectGetVersion", "version", async (r) => ({
    "Running hypervisor": `QEMU ${version((await r.connectGetVersion()).hvVer)}`,
  })),
  row("connectGetSysinfo", "sysinfo", async (r) => (await r.connectGetSysinfo({})).sysinfo),
  row("connectCompareCpu", "cpu-compare FOLDER/cpu.xml", async (r) => {
    const { result } = await r.connectCompareCpu({ xml: cpuXml });
    const words = compareWords[result];
    return words === undefined
      ? "Host CPU is a superset of CPU described in FOLDER/cpu.xml"
      : `CPU described in FOLDER/cpu.xml ${words}`;
  }),
  row(
    "connectCompareHypervisorCpu",
    "hypervisor-cpu-compare FOLDER/cpu.xml --arch x86_64 --machine q35 --virttype qemu",
    async (r) => {
      const how = { arch: "x86_64", machine: "q35", virttype: "qemu", xmlCPU: cpuXml };
      const words = compareWords[(await r.connectCompareHypervisorCpu(how)).result];
      return words === undefined
        ? "The CPU provided by hypervisor on the host is a superset of CPU described in FOLDER/cpu.xml"
        : `CPU described in FOLDER/cpu.xml ${words.replace("host CPU", "the CPU provided by hypervisor on the host")}`;
    },
  ),
  row(
    "connectDomainXmlToNative",
    "domxml-to-native qemu-argv --xml FOLDER/viewed.xml",
    async (r) => (await r.connectDomainXmlToNative({ nativeFormat: "qemu-argv", domainXml: viewedXml })).nativeConfig,
  ),
  row("nodeGetInfo", "nodeinfo", async (r) => {
    const { model, memory, cpus, nodes, sockets, cores, threads } = await r.nodeGetInfo();
    return {
      "CPU model": model,
      "CPU(s)": cpus,
      "CPU socket(s)": sockets,
      "Core(s) per socket": cores,
      "Thread(s) per core": threads,
      "NUMA cell(s)": nodes,
      "Memory size": `${memory} KiB`,
    };
  }),
  row("nodeGetCpuStats", "nodecpustats", async (r) => {
    const { nparams } = await r.nodeGetCpuStats({ cpuNum: -1, nparams: 0 });
    const { params } = await r.nodeGetCpuStats({ cpuNum: -1, nparams });
    return Object.fromEntries(params.map(({ field, value }) => [cpuStatWords[field] ?? field, value]));
  }),
  row(
    "nodeGetMemoryStats",
    "nodememstats",
    async (r) => {
      const { nparams } = await r.nodeGetMemoryStats({ cellNum: -1, nparams: 0 });
      const { params } = await r.nodeGetMemoryStats({ cellNum: -1, nparams });
      return Object.fromEntries(params.map(({ field, value }) => [field, `${value} KiB`]));
    },
    { drifts: true },
  ),
  row("nodeGetFreeMemory", "freecell", async (r) => ({ Total: kibibytes((await r.nodeGetFreeMemory()).freeMem) }), {
    drifts: true,
  }),
  row(
    "nodeGetCellsFreeMemory",
    "freecell --cellno 0",
    async (r) => {
      const { cells } = await r.nodeGetCellsFreeMemory({ startCell: 0, maxcells: 1 });
      return { 0: kibibytes(cells[0] ?? 0n) };
    },
    { drifts: true },
  ),
  row(
    "nodeGetFreePages",
    "freepages --cellno 0 --pagesize 4",
    async (r) => ({ "4KiB": (await r.nodeGetFreePages({ pages: [4], startCell: 0, cellCount: 1 })).counts[0] }),
    { drifts: true },
  ),
];

const listRows: readonly VirshRow[] = [
  row("connectListAllDomains", "list --all --uuid --id --name", async (r) =>
    (await r.connectListAllDomains({ needResults: 1 })).domains.map(({ uuid, id, name }) => [
      uuid,
      id === -1 ? "-" : id,
      name,
    ]),
  ),
  row("connectListAllNetworks", "net-list --all --name", async (r) =>
    (await r.connectListAllNetworks({ needResults: 1 })).nets.map(({ name }) => [name]),
  ),
  row("connectListAllStoragePools", "pool-list --all --uuid --name", async (r) =>
    (await r.connectListAllStoragePools({ needResults: 1 })).pools.map(({ uuid, name }) => [uuid, name]),
  ),
  row(
    "connectListAllInterfaces",
    "iface-list --all",
    async (r) => (await r.connectListAllInterfaces({ needResults: 1 })).ifaces.map(({ name, mac }) => [name, mac]),
    { columns: [0, 2] },
  ),
  row(
    "connectListAllSecrets",
    "secret-list",
    async (r) =>
      (await r.connectListAllSecrets({ needResults: 1 })).secrets.map(({ uuid, usageType, usageID }) => [
        uuid,
        secretWords[usageType],
        usageID,
      ]),
    { before: ["secret-define FOLDER/secret.xml"] },
  ),
  row("networkLookupByName", "net-uuid default", async (r) => (await net(r)).uuid),
  row("networkLookupByUuid", "net-info default", async (r) => {
    const found = await r.networkLookupByUuid({ uuid: (await net(r)).uuid });
    return { Name: found.net.name, UUID: found.net.uuid };
  }),
  row("networkIsActive", "net-info default", async (r) => ({
    Active: yes((await r.networkIsActive({ net: await net(r) })).active),
  })),
  row("networkGetAutostart", "net-info default", async (r) => ({
    Autostart: yes((await r.networkGetAutostart({ net: await net(r) })).autostart),
  })),
  row("networkGetXmlDesc", "net-dumpxml default", async (r) => (await r.networkGetXmlDesc({ net: await net(r) })).xml),
  row("storagePoolLookupByName", "pool-uuid local", async (r) => (await pool(r)).uuid),
  row("storagePoolLookupByUuid", "pool-info local", async (r) => {
    const found = await r.storagePoolLookupByUuid({ uuid: (await pool(r)).uuid });
    return { Name: found.pool.name, UUID: found.pool.uuid };
  }),
  row("storagePoolGetInfo", "pool-info --bytes local", async (r) => {
    const { state, capacity, allocation, available } = await r.storagePoolGetInfo({ pool: await pool(r) });
    return { State: poolStateWords[state], Capacity: capacity, Allocation: allocation, Available: available };
  }),
  row("storagePoolGetAutostart", "pool-info local", async (r) => ({
    Autostart: yes((await r.storagePoolGetAutostart({ pool: await pool(r) })).autostart),
  })),
  row("storagePoolIsPersistent", "pool-info local", async (r) => ({
    Persistent: yes((await r.storagePoolIsPersistent({ pool: await pool(r) })).persistent),
  })),
  row(
    "storagePoolIsActive",
    "pool-list --all",
    async (r) => {
      const { pools } = await r.connectListAllStoragePools({ needResults: 1 });
      return Promise.all(
        pools.map(async (each) => [
          each.name,
          (await r.storagePoolIsActive({ pool: each })).active === 0 ? "inactive" : "active",
        ]),
      );
    },
    { columns: [0, 1] },
  ),
  row(
    "storagePoolGetXmlDesc",
    "pool-dumpxml local",
    async (r) => (await r.storagePoolGetXmlDesc({ pool: await pool(r) })).xml,
  ),
  row("storagePoolListAllVolumes", "vol-list local", async (r) =>
    (await r.storagePoolListAllVolumes({ pool: await pool(r), needResults: 1 })).vols.map(({ name, key }) => [
      name,
      key,
    ]),
  ),
  row("storageVolLookupByName", "vol-key --pool local viewed.qcow2", async (r) => (await vol(r)).key),
  row(
    "storageVolLookupByPath",
    `vol-name ${disk}.qcow2`,
    async (r) => (await r.storageVolLookupByPath({ path: `${disk}.qcow2` })).vol.name,
  ),
  row("storageVolGetInfo", "vol-info --bytes --pool local viewed.qcow2", async (r) => {
    const { capacity, allocation } = await r.storageVolGetInfo({ vol: await vol(r) });
    return { Type: "file", Capacity: `${capacity} bytes`, Allocation: `${allocation} bytes` };
  }),
  row("storageVolGetInfoFlags", "vol-info --bytes --physical --pool local viewed.qcow2", async (r) => {
    const { allocation } = await r.storageVolGetInfoFlags({ vol: await vol(r), flags: physical });
    return { Physical: `${allocation} bytes` };
  }),
  row(
    "storageVolGetXmlDesc",
    "vol-dumpxml --pool local viewed.qcow2",
    async (r) => (await r.storageVolGetXmlDesc({ vol: await vol(r) })).xml,
  ),
];

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
