/** Rows about the host, its networks, pools and volumes, and its lists. */
import type { Remote } from "./compared-call.ts";
import { disk, row, viewedXml, type VirshRow, yes, cpuXml } from "./virsh-row.ts";

const poolStateWords = ["inactive", "building", "running", "degraded", "inaccessible"];
const secretWords = ["none", "volume", "ceph", "iscsi", "tls", "vtpm"];
const compareWords = ["is incompatible with host CPU", "is identical to host CPU"];
const cpuStatWords: Readonly<Record<string, string>> = { kernel: "system" };
const physical = 1;

const kibibytes = (bytes: bigint): string => `${bytes / 1_024n} KiB`;
const version = (number: bigint): string =>
  [number / 1_000_000n, (number / 1_000n) % 1_000n, number % 1_000n].join(".");
const net = async (remote: Remote) => (await remote.networkLookupByName({ name: "default" })).net;
const pool = async (remote: Remote) => (await remote.storagePoolLookupByName({ name: "local" })).pool;
const vol = async (remote: Remote) =>
  (await remote.storageVolLookupByName({ pool: await pool(remote), name: "viewed.qcow2" })).vol;

export const hostRows: readonly VirshRow[] = [
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

export const listRows: readonly VirshRow[] = [
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
