/** What a host is and has, read through libvirt (libvirt 9.0 include/libvirt/libvirt-host.h). */
import type { HostHardware } from "@innkeeper/contract/resource/host.ts";
import type { Logger } from "#core/log.ts";
import type { ConnectedCall } from "#libvirt/session.ts";
import { formatVersion } from "#libvirt/version.ts";
import {
  type Capabilities,
  type DomainCapabilities,
  readCapabilities,
  readDomainCapabilities,
  readSystemInformation,
  type SystemInformation,
} from "./host-xml.ts";
import { hostMemory } from "./host-usage.ts";

export async function readHardware(connected: ConnectedCall, log: Logger): Promise<HostHardware> {
  const { connection, options } = connected;
  const { remote } = connection;
  const [{ capabilities: capabilitiesXml }, node, { hostname }, { libVer }, { type }] = await Promise.all([
    remote.connectGetCapabilities({}, options),
    remote.nodeGetInfo({}, options),
    remote.connectGetHostname({}, options),
    remote.connectGetLibVersion({}, options),
    remote.connectGetType({}, options),
  ]);
  const capabilities = readCapabilities(capabilitiesXml);
  const [hvVersion, system, domain, memory] = await Promise.all([
    optional(remote.connectGetVersion({}, options), log, "hypervisor version"),
    systemInformation(connected, log),
    domainCapabilities(connected, capabilities, log),
    hostMemory(connected),
  ]);
  const advertised = capabilities.domainTypes.includes("kvm");
  return {
    uuid: capabilities.uuid,
    hostname,
    ...(system.vendor === undefined ? {} : { vendor: system.vendor }),
    ...(system.product === undefined ? {} : { product: system.product }),
    ...(system.serialNumber === undefined ? {} : { serialNumber: system.serialNumber }),
    architecture: capabilities.architecture,
    cpuModel: system.cpuModel ?? capabilities.cpuModel ?? node.model,
    cpuCount: node.cpus,
    ...topologyOf(node, capabilities),
    cpuMHz: node.mhz,
    // The same counter that free memory is told by; else virNodeInfo.memory, in KiB.
    memoryMiB: memory?.totalMiB ?? Math.floor(Number(node.memory) / 1024),
    numaNodes: capabilities.numaNodes,
    libvirtVersion: formatVersion(libVer),
    hypervisor: type,
    hypervisorVersion: hvVersion === undefined ? "" : formatVersion(hvVersion.hvVer),
    kvm: {
      advertised,
      usable: advertised ? null : false,
      detail: advertised ? "not tested yet" : "libvirt does not offer KVM on this host",
    },
    machineTypes: [...capabilities.machineTypes],
    firmwares: [...domain.firmwares],
    cpuModels: [...domain.cpuModels],
    domainTypes: [...capabilities.domainTypes],
    tpmSupported: domain.tpmSupported,
    confinements: [...capabilities.confinements],
    ...(domain.graphicsTypes === undefined ? {} : { graphicsTypes: [...domain.graphicsTypes] }),
    ...(domain.videoModels === undefined ? {} : { videoModels: [...domain.videoModels] }),
  };
}

interface Node {
  readonly nodes: number;
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** virNodeInfo counts sockets per NUMA node; the host CPU's own topology is more exact where libvirt knows it. */
function topologyOf(
  node: Node,
  { topology }: Capabilities,
): Pick<HostHardware, "cpuSockets" | "cpuCoresPerSocket" | "cpuThreadsPerCore"> {
  return {
    cpuSockets: Math.max(topology?.sockets ?? 0, node.sockets * node.nodes),
    cpuCoresPerSocket: topology?.cores ?? node.cores,
    cpuThreadsPerCore: topology?.threads ?? node.threads,
  };
}

async function systemInformation({ connection, options }: ConnectedCall, log: Logger): Promise<SystemInformation> {
  const answer = await optional(connection.remote.connectGetSysinfo({}, options), log, "system information");
  return answer === undefined ? {} : readSystemInformation(answer.sysinfo);
}

/** Of the best domain type that the host offers, on the machine type that new VMs get. */
async function domainCapabilities(
  { connection, options }: ConnectedCall,
  { domainTypes, machineTypes, architecture }: Capabilities,
  log: Logger,
): Promise<DomainCapabilities> {
  const none: DomainCapabilities = { firmwares: ["bios"], cpuModels: [], tpmSupported: false };
  const virttype = ["kvm", "qemu", "xen"].find((type) => domainTypes.includes(type));
  if (virttype === undefined) return none;
  const machine = ["q35", "virt"].find((name) => machineTypes.includes(name)) ?? null;
  const answer = await optional(
    connection.remote.connectGetDomainCapabilities({ arch: architecture, machine, virttype }, options),
    log,
    "domain capabilities",
  );
  return answer === undefined ? none : readDomainCapabilities(answer.capabilities);
}

/** Not every driver of libvirt's has it, and not every machine tells it (no SMBIOS). */
async function optional<T>(answer: Promise<T>, log: Logger, what: string): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    log.debug({ error }, `the host does not tell its ${what}`);
    return undefined;
  }
}
