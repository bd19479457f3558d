/** Calls about the host as a whole, and look-ups. */
import { type ComparedCall, named, volume } from "./compared-call.ts";

const fields = (params: readonly { readonly field: string; readonly value: bigint }[]): unknown =>
  Object.fromEntries(params.map(({ field, value }) => [field, value]));

const cpuXml = '<cpu match="exact"><model fallback="forbid">qemu64</model></cpu>';
const nativeXml =
  '<domain type="qemu"><name>native</name><uuid>00000000-0000-4000-8000-000000000001</uuid><memory>32768</memory><os><type arch="x86_64" machine="pc">hvm</type></os></domain>';
const text = (value: string): string => JSON.stringify(value);

export const hostReads: readonly ComparedCall<undefined>[] = [
  {
    procedure: "connectGetCapabilities",
    ours: async (remote) => (await remote.connectGetCapabilities()).capabilities,
    python: "c.getCapabilities()",
  },
  {
    procedure: "connectGetDomainCapabilities",
    ours: async (remote) =>
      (await remote.connectGetDomainCapabilities({ arch: "x86_64", machine: "q35", virttype: "qemu" })).capabilities,
    python: "c.getDomainCapabilities(None, 'x86_64', 'q35', 'qemu')",
  },
  {
    procedure: "connectGetDomainCapabilities",
    ours: async (remote) => remote.connectGetDomainCapabilities({ arch: "nonsense", virttype: "qemu" }),
    python: "c.getDomainCapabilities(None, 'nonsense', None, 'qemu')",
  },
  {
    procedure: "connectGetHostname",
    ours: async (remote) => (await remote.connectGetHostname()).hostname,
    python: "c.getHostname()",
  },
  {
    procedure: "connectGetLibVersion",
    ours: async (remote) => (await remote.connectGetLibVersion()).libVer,
    python: "c.getLibVersion()",
  },
  {
    procedure: "connectGetVersion",
    ours: async (remote) => (await remote.connectGetVersion()).hvVer,
    python: "c.getVersion()",
  },
  { procedure: "connectGetType", ours: async (remote) => (await remote.connectGetType()).type, python: "c.getType()" },
  {
    procedure: "connectGetSysinfo",
    ours: async (remote) => (await remote.connectGetSysinfo({})).sysinfo,
    python: "c.getSysinfo()",
  },
  {
    procedure: "connectListAllDomains",
    ours: async (remote) =>
      (await remote.connectListAllDomains({ needResults: 1 })).domains.map(({ name, uuid, id }) => [name, uuid, id]),
    python: "[(d.name(), d.UUIDString(), d.ID()) for d in c.listAllDomains()]",
  },
  {
    procedure: "connectListAllNetworks",
    ours: async (remote) => (await remote.connectListAllNetworks({ needResults: 1 })).nets.map(named),
    python: "c.listAllNetworks()",
  },
  {
    procedure: "connectListAllStoragePools",
    ours: async (remote) => (await remote.connectListAllStoragePools({ needResults: 1 })).pools.map(named),
    python: "c.listAllStoragePools()",
  },
  {
    procedure: "connectListAllInterfaces",
    ours: async (remote) =>
      (await remote.connectListAllInterfaces({ needResults: 1 })).ifaces.map(({ name, mac }) => [name, mac]),
    python: "[(i.name(), i.MACString()) for i in c.listAllInterfaces()]",
  },
  {
    procedure: "connectListAllSecrets",
    ours: async (remote) =>
      (await remote.connectListAllSecrets({ needResults: 1 })).secrets.map(({ uuid, usageType, usageID }) => [
        uuid,
        usageType,
        usageID,
      ]),
    python: "[(s.UUIDString(), s.usageType(), s.usageID()) for s in c.listAllSecrets()]",
  },
  {
    procedure: "connectGetAllDomainStats",
    ours: async (remote) =>
      (await remote.connectGetAllDomainStats({ doms: [], stats: 0 })).retStats.map(({ dom, params }) => [
        named(dom),
        params,
      ]),
    python: "c.getAllDomainStats()",
  },
  {
    procedure: "connectDomainXmlToNative",
    ours: async (remote) =>
      (await remote.connectDomainXmlToNative({ nativeFormat: "qemu-argv", domainXml: nativeXml })).nativeConfig,
    python: `c.domainXMLToNative('qemu-argv', ${text(nativeXml)}, 0)`,
  },
  {
    procedure: "connectDomainXmlToNative",
    ours: async (remote) => remote.connectDomainXmlToNative({ nativeFormat: "nonsense", domainXml: nativeXml }),
    python: `c.domainXMLToNative('nonsense', ${text(nativeXml)}, 0)`,
  },
  {
    procedure: "connectCompareCpu",
    ours: async (remote) => (await remote.connectCompareCpu({ xml: cpuXml })).result,
    python: `c.compareCPU(${text(cpuXml)})`,
  },
  {
    procedure: "connectCompareHypervisorCpu",
    ours: async (remote) =>
      (await remote.connectCompareHypervisorCpu({ arch: "x86_64", machine: "q35", virttype: "qemu", xmlCPU: cpuXml }))
        .result,
    python: `c.compareHypervisorCPU(None, 'x86_64', 'q35', 'qemu', ${text(cpuXml)})`,
  },
  {
    procedure: "domainLookupByName",
    ours: async (remote) => named((await remote.domainLookupByName({ name: "twin-a" })).dom),
    python: "c.lookupByName('twin-a')",
  },
  {
    procedure: "domainLookupByName",
    ours: (remote) => remote.domainLookupByName({ name: "nobody" }),
    python: "c.lookupByName('nobody')",
  },
  {
    procedure: "domainLookupByUuid",
    ours: (remote) => remote.domainLookupByUuid({ uuid: "00000000-0000-4000-8000-000000000000" }),
    python: "c.lookupByUUIDString('00000000-0000-4000-8000-000000000000')",
  },
  {
    procedure: "domainSaveImageGetXmlDesc",
    ours: (remote) => remote.domainSaveImageGetXmlDesc({ file: "/nonexistent" }),
    python: "c.saveImageGetXMLDesc('/nonexistent')",
  },
  {
    procedure: "networkLookupByName",
    ours: async (remote) => named((await remote.networkLookupByName({ name: "default" })).net),
    python: "c.networkLookupByName('default')",
  },
  {
    procedure: "networkLookupByUuid",
    ours: (remote) => remote.networkLookupByUuid({ uuid: "00000000-0000-4000-8000-000000000000" }),
    python: "c.networkLookupByUUIDString('00000000-0000-4000-8000-000000000000')",
  },
  {
    procedure: "storagePoolLookupByName",
    ours: async (remote) => named((await remote.storagePoolLookupByName({ name: "local" })).pool),
    python: "c.storagePoolLookupByName('local')",
  },
  {
    procedure: "storagePoolLookupByUuid",
    ours: (remote) => remote.storagePoolLookupByUuid({ uuid: "00000000-0000-4000-8000-000000000000" }),
    python: "c.storagePoolLookupByUUIDString('00000000-0000-4000-8000-000000000000')",
  },
  {
    procedure: "storagePoolLookupByTargetPath",
    ours: async (remote) =>
      named((await remote.storagePoolLookupByTargetPath({ path: "/var/lib/libvirt/images" })).pool),
    python: "c.storagePoolLookupByTargetPath('/var/lib/libvirt/images')",
  },
  {
    procedure: "storageVolLookupByPath",
    ours: async (remote) =>
      volume((await remote.storageVolLookupByPath({ path: "/var/lib/libvirt/images/twin-a.qcow2" })).vol),
    python: "c.storageVolLookupByPath('/var/lib/libvirt/images/twin-a.qcow2')",
  },
  {
    procedure: "storageVolLookupByPath",
    ours: (remote) => remote.storageVolLookupByPath({ path: "/nonexistent" }),
    python: "c.storageVolLookupByPath('/nonexistent')",
  },
  {
    procedure: "nodeGetInfo",
    ours: async (remote) => {
      const { model, memory, cpus, mhz, nodes, sockets, cores, threads } = await remote.nodeGetInfo();
      // libvirt-python shows MiB.
      return [model, memory / 1_024n, cpus, mhz, nodes, sockets, cores, threads];
    },
    python: "c.getInfo()",
    drifts: true,
  },
  {
    procedure: "nodeGetCpuStats",
    // Asked for the number of counters first, as by the driver.
    ours: async (remote) => {
      const { nparams } = await remote.nodeGetCpuStats({ cpuNum: -1, nparams: 0 });
      return fields((await remote.nodeGetCpuStats({ cpuNum: -1, nparams })).params);
    },
    python: "c.getCPUStats(-1)",
  },
  {
    procedure: "nodeGetMemoryStats",
    ours: async (remote) => {
      const { nparams } = await remote.nodeGetMemoryStats({ cellNum: -1, nparams: 0 });
      return fields((await remote.nodeGetMemoryStats({ cellNum: -1, nparams })).params);
    },
    python: "c.getMemoryStats(-1)",
    drifts: true,
  },
  {
    procedure: "nodeGetFreeMemory",
    ours: async (remote) => (await remote.nodeGetFreeMemory()).freeMem,
    python: "c.getFreeMemory()",
    drifts: true,
  },
  {
    procedure: "nodeGetCellsFreeMemory",
    ours: async (remote) => (await remote.nodeGetCellsFreeMemory({ startCell: 0, maxcells: 1 })).cells,
    python: "c.getCellsFreeMemory(0, 1)",
    drifts: true,
  },
  {
    procedure: "nodeGetFreePages",
    ours: async (remote) => {
      const { counts } = await remote.nodeGetFreePages({ pages: [4, 2_048], startCell: 0, cellCount: 1 });
      return { 0: { 4: counts[0], 2048: counts[1] } };
    },
    python: "c.getFreePages([4, 2048], 0, 1)",
    drifts: true,
  },
];
