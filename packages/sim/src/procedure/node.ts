// The machine itself: what it is, what it can, how busy it is (virNode… of libvirt-host.h).
import {
  VIR_CPU_COMPARE_INCOMPATIBLE,
  VIR_CPU_COMPARE_SUPERSET,
  VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
} from "@innkeeper/libvirt/generated/host-constant.ts";
import {
  VIR_ERR_CPU_INCOMPATIBLE,
  VIR_ERR_INVALID_ARG,
  VIR_ERR_NO_INTERFACE,
  VIR_FROM_CPU,
  VIR_FROM_INTERFACE,
  VIR_FROM_NONE,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { SimError } from "#error.ts";
import { parseDocument } from "#xml/document.ts";
import { capabilitiesXml, sysinfoXml } from "#host/node/capabilities.ts";
import { CPU_MODELS, domainCapabilitiesXml, runsModel } from "#host/node/domain-capabilities.ts";
import type { SimHost } from "#host/sim-host.ts";
import type { Procedures } from "#rpc/handler.ts";
import { textOf } from "#xml/element.ts";

/** VIR_NODE_CPU_STATS_ALL_CPUS, VIR_NODE_MEMORY_STATS_ALL_CELLS */
const ALL = -1;

export const nodeProcedures: Procedures = {
  remote: {
    nodeGetInfo: ({ node }) => {
      const { shape, memoryKiB, cpuCount } = node;
      const { coresPerSocket: cores, threadsPerCore: threads, mhz, sockets } = shape;
      // Sockets are counted per NUMA node.
      return {
        model: "x86_64",
        memory: BigInt(memoryKiB),
        cpus: cpuCount,
        mhz,
        nodes: sockets,
        sockets: 1,
        cores,
        threads,
      };
    },
    connectGetCapabilities: ({ uuid, node }) => ({ capabilities: capabilitiesXml(uuid, node) }),
    connectGetDomainCapabilities: ({ node }, args) => ({ capabilities: domainCapabilitiesXml(node.shape, args) }),
    connectGetSysinfo: ({ uuid, node }) => ({ sysinfo: sysinfoXml(uuid, node.shape) }),
    // virQEMUDriverGetMaxVcpus in src/qemu/qemu_driver.c: plain emulation has its own limit, and is what is meant by nothing.
    connectGetMaxVcpus: (_host, { type }) => ({ maxVcpus: type?.toLowerCase() === "kvm" ? 288 : 16 }),
    connectGetCpuModelNames: (_host, { needResults }) => ({
      models: needResults === 0 ? [] : CPU_MODELS,
      ret: CPU_MODELS.length,
    }),
    nodeGetCpuStats: ({ node }, { cpuNum, nparams }) => {
      if (cpuNum !== ALL && (cpuNum < 0 || cpuNum >= node.cpuCount))
        throw SimError.inWords(VIR_ERR_INVALID_ARG, VIR_FROM_NONE, "Invalid cpuNum in virHostCPUGetStatsLinux");
      const divisor = cpuNum === ALL ? 1n : BigInt(node.cpuCount);
      const { kernelNs, userNs, idleNs, iowaitNs } = node.times();
      const fields = { kernel: kernelNs, user: userNs, idle: idleNs, iowait: iowaitNs };
      const params = Object.entries(fields).map(([field, value]) => ({ field, value: value / divisor }));
      return nparams === 0 ? { params: [], nparams: params.length } : { params, nparams: 0 };
    },
    nodeGetMemoryStats: ({ node }, { cellNum, nparams }) => {
      const divisor = cellNum === ALL ? 1 : node.shape.sockets;
      const { totalKiB, freeKiB, buffersKiB, cachedKiB } = node.memory();
      const all = {
        total: totalKiB,
        free: freeKiB,
        ...(cellNum === ALL ? { buffers: buffersKiB, cached: cachedKiB } : {}),
      };
      const params = Object.entries(all).map(([field, value]) => ({
        field,
        value: BigInt(Math.floor(value / divisor)),
      }));
      return nparams === 0 ? { params: [], nparams: params.length } : { params, nparams: 0 };
    },
    nodeGetFreeMemory: ({ node }) => ({ freeMem: BigInt(node.memory().freeKiB) * 1024n }),
    nodeGetCellsFreeMemory: ({ node }, { startCell, maxcells }) => {
      const { sockets } = node.shape;
      if (startCell < 0 || startCell >= sockets)
        throw new SimError(
          VIR_ERR_INVALID_ARG,
          VIR_FROM_NONE,
          `start cell ${startCell} out of range (0-${sockets - 1})`,
        );
      const free = BigInt(Math.floor(node.memory().freeKiB / sockets)) * 1024n;
      return { cells: Array.from({ length: Math.min(maxcells, sockets - startCell) }, () => free) };
    },
    nodeGetFreePages: ({ node }, { pages, startCell, cellCount }) => {
      const cells = Math.min(cellCount, node.shape.sockets - Math.max(0, startCell));
      const free = BigInt(Math.floor(node.memory().freeKiB / node.shape.sockets / 4));
      return { counts: Array.from({ length: cells }, () => pages.map((size) => (size === 4 ? free : 0n))).flat() };
    },
    nodeGetCpuMap: ({ node }, { needMap, needOnline }) => {
      const map = new Uint8Array(Math.ceil(node.cpuCount / 8)).fill(0xff);
      return {
        cpumap: needMap === 0 ? new Uint8Array() : map,
        online: needOnline === 0 ? 0 : node.cpuCount,
        ret: node.cpuCount,
      };
    },
    nodeGetSecurityModel: () => ({ model: "none", doi: "0" }),
    connectCompareCpu: (host, { xml, flags }) => compareCpu(host, xml, flags),
    connectCompareHypervisorCpu: (host, { xmlCPU, flags }) => compareCpu(host, xmlCPU, flags),
    connectListAllInterfaces: ({ uuid }, { needResults }) => {
      const ifaces = [
        { name: "eth0", mac: macOf(uuid) },
        { name: "br0", mac: macOf(uuid) },
      ];
      return { ifaces: needResults === 0 ? [] : ifaces, ret: ifaces.length };
    },
    connectNumOfInterfaces: () => ({ num: 2 }),
    connectListInterfaces: () => ({ names: ["br0", "eth0"] }),
    interfaceLookupByName: ({ uuid }, { name }) => {
      if (name === "eth0" || name === "br0") return { iface: { name, mac: macOf(uuid) } };
      throw new SimError(VIR_ERR_NO_INTERFACE, VIR_FROM_INTERFACE, `couldn't find interface named '${name}'`);
    },
    interfaceIsActive: () => ({ active: 1 }),
    connectListAllSecrets: () => ({ secrets: [], ret: 0 }),
    connectNumOfSecrets: () => ({ num: 0 }),
    connectListAllNodeDevices: () => ({ devices: [], ret: 0 }),
    nodeNumOfDevices: () => ({ num: 0 }),
    connectListAllNwfilters: () => ({ filters: [], ret: 0 }),
  },
};

/** The machine's own card. */
function macOf(uuid: string): string {
  return `02:${uuid.slice(0, 8).match(/../gu)?.join(":") ?? ""}:01`;
}

function compareCpu({ node }: SimHost, xml: string, flags: number): { result: number } {
  const root = /<host\b/u.test(xml) ? "host" : "cpu";
  const model = textOf(
    parseDocument(xml, "(CPU_definition)", root),
    ...(root === "host" ? ["cpu", "model"] : ["model"]),
  )?.trim();
  if (model === undefined || runsModel(node.shape.cpuModel, model)) return { result: VIR_CPU_COMPARE_SUPERSET };
  if ((flags & VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE) === 0) return { result: VIR_CPU_COMPARE_INCOMPATIBLE };
  throw new SimError(VIR_ERR_CPU_INCOMPATIBLE, VIR_FROM_CPU, `Host CPU does not provide required features: ${model}`);
}
