/**
 * What a host offers to a guest that would come to it, asked of its own libvirt; nothing is started or changed. Facts:
 * libvirt 9.0 virConnectCompareHypervisorCPU (x86 under KVM, s390x), virConnectCompareCPU, domain capabilities (loaders
 * that exist, qemu_capabilities.c virQEMUCapsFillDomainLoaderCaps), virConnectDomainXMLToNative (all rules that need no
 * running guest), docs/formatcaps.rst.
 */
import { connect as dial } from "node:net";
import {
  type CallOptions,
  type Connection,
  parseUri,
  VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE,
  VIR_CPU_COMPARE_IDENTICAL,
  VIR_CPU_COMPARE_INCOMPATIBLE,
  VIR_CPU_COMPARE_SUPERSET,
} from "@innkeeper/libvirt";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { type Element, elements, integer, parseXml, serializeXml } from "#libvirt/xml.ts";
import { readXml, type ReadElement } from "#libvirt/read-xml.ts";
import type { CpuComparison, MigrationReception, MigrationTraits } from "#virtualization/migration/port.ts";
import { attribute, child, descendants, text } from "./domain-xml/element.ts";
import { hostAddresses, readListeners } from "./listener.ts";
import { type PlatformCapabilities, platformCapabilities } from "./platform.ts";

type Remote = Connection["remote"];

/** The last of the ports that libvirt migrates over (libvirt 9.0 qemu.conf migration_port_max); the first ones may be in use by others, who must not be disturbed. */
const lastMigrationPort = 49_215;
const dialMs = 1_500;
/** virSecretUsageType (libvirt 9.0 libvirt-secret.h), as in XML. */
const usageTypes: readonly string[] = ["none", "volume", "ceph", "iscsi", "tls", "vtpm"];

export async function readReception(
  connection: Connection,
  hostUri: string,
  traits: Pick<MigrationTraits, "xml" | "hostCpuXml" | "listeners">,
  options: CallOptions,
): Promise<MigrationReception> {
  const { remote } = connection;
  const root = parseXml(traits.xml);
  const [platform, cpu, definitionProblem, guests, interfaces, secrets, numa, port, addresses, listeners] =
    await Promise.all([
      readPlatform(connection, root, options),
      compareCpu(remote, root, traits.hostCpuXml, options),
      refusal(remote, traits.xml, options),
      namesakes(remote, root, options),
      remote.connectListAllInterfaces({ needResults: 1 }, options).then(
        ({ ifaces }) => ifaces.map(({ name }) => name),
        () => undefined, // not every daemon has an interface driver
      ),
      remote.connectListAllSecrets({ needResults: 1 }, options).then(
        (answer) =>
          answer.secrets.map(({ uuid, usageType, usageID: usageId }) => ({
            uuid,
            usageType: usageTypes[usageType] ?? "unknown",
            usageId,
          })),
        () => undefined,
      ),
      readNodes(remote, options),
      portState(hostUri),
      hostAddresses(hostUri),
      traits.listeners.length > 0 ? readListeners(remote, options) : [],
    ]);
  const { capabilities } = platform;
  return {
    machineProblem: platform.problem,
    vcpuMax: capabilities?.vcpuMax,
    cpu,
    loaders: capabilities?.loaders,
    tpm: capabilities?.tpm,
    definitionProblem,
    guests,
    interfaces,
    secrets,
    hostAddresses: addresses,
    listeners,
    ...numa,
    port: { number: lastMigrationPort, state: port },
  };
}

async function readPlatform(
  connection: Connection,
  root: ReadElement,
  options: CallOptions,
): Promise<{ capabilities?: PlatformCapabilities | undefined; problem: string | undefined }> {
  const type = child(root, "os/type");
  const machine = attribute(type, "machine");
  const spec = {
    domainType: attribute(root, "type") ?? "",
    architecture: attribute(type, "arch") ?? "",
    ...(machine !== undefined && { machine }),
  };
  try {
    return { capabilities: await platformCapabilities(connection, spec, options), problem: undefined };
  } catch (error) {
    if (error instanceof AppError && error.code === "unsupported") return { problem: error.message };
    throw error;
  }
}

/** A guest of a named model is compared with what the hypervisor can give; one with its host's CPU, host with host. */
async function compareCpu(
  remote: Remote,
  root: Element,
  hostCpuXml: string | undefined,
  options: CallOptions,
): Promise<CpuComparison> {
  const cpu = child(root, "cpu");
  const type = child(root, "os/type");
  const flags = VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE;
  const isNamed = cpu !== undefined && (attribute(cpu, "mode") ?? "custom") === "custom" && child(cpu, "model");
  try {
    if (hostCpuXml !== undefined) {
      return comparison((await remote.connectCompareCpu({ xml: hostCpuXml, flags }, options)).result);
    }
    if (!isNamed) return { result: "unknown", detail: "" };
    const args = {
      emulator: null,
      arch: attribute(type, "arch") ?? null,
      machine: attribute(type, "machine") ?? null,
      virttype: attribute(root, "type") ?? null,
      xmlCPU: serializeXml(cpu),
      flags,
    };
    return comparison((await remote.connectCompareHypervisorCpu(args, options)).result);
  } catch (error) {
    if (isLibvirtCode(error, "VIR_ERR_CPU_INCOMPATIBLE")) return { result: "incompatible", detail: wordsOf(error) };
    if (options.signal?.aborted === true) throw error;
    return { result: "unknown", detail: wordsOf(error) };
  }
}

function comparison(result: number): CpuComparison {
  const results: Readonly<Record<number, CpuComparison["result"]>> = {
    [VIR_CPU_COMPARE_INCOMPATIBLE]: "incompatible",
    [VIR_CPU_COMPARE_IDENTICAL]: "identical",
    [VIR_CPU_COMPARE_SUPERSET]: "superset",
  };
  return { result: results[result] ?? "unknown", detail: "" };
}

async function refusal(remote: Remote, domainXml: string, options: CallOptions): Promise<string | undefined> {
  try {
    await remote.connectDomainXmlToNative({ nativeFormat: "qemu-argv", domainXml }, options);
    return undefined;
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    return isLibvirtCode(error, "VIR_ERR_NO_SUPPORT") ? undefined : wordsOf(error);
  }
}

/** Guests there of the same name or UUID. */
async function namesakes(
  remote: Remote,
  root: ReadElement,
  options: CallOptions,
): Promise<MigrationReception["guests"]> {
  const name = text(child(root, "name")) ?? "";
  const uuid = text(child(root, "uuid")) ?? "";
  const found = await Promise.all([
    remote.domainLookupByName({ name }, options).catch(noneIfAbsent),
    remote.domainLookupByUuid({ uuid }, options).catch(noneIfAbsent),
  ]);
  return found.flatMap((answer) => (answer === undefined ? [] : [{ name: answer.dom.name, uuid: answer.dom.uuid }]));
}

function noneIfAbsent(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

async function readNodes(
  remote: Remote,
  options: CallOptions,
): Promise<Pick<MigrationReception, "cpus" | "nodes" | "pages">> {
  const root = readXml((await remote.connectGetCapabilities({}, options)).capabilities);
  const cells = elements(root, "host/topology/cells/cell").map((cell) => integer(attribute(cell, "id")) ?? 0);
  const cpus = descendants(root, "cpu").flatMap((cpu) =>
    cpu.parentNode?.nodeName === "cpus" ? (integer(attribute(cpu, "id")) ?? []) : [],
  );
  const sizes = elements(root, "host/cpu/pages").flatMap((page) => integer(attribute(page, "size")) ?? []);
  const [nodes, pages] = await Promise.all([
    Promise.all(cells.map((id) => freeOf(remote, id, options))),
    Promise.all(sizes.map((sizeKiB) => freePages(remote, sizeKiB, cells, options))),
  ]);
  return { cpus, nodes: nodes.flat(), pages };
}

async function freeOf(remote: Remote, id: number, options: CallOptions): Promise<{ id: number; freeMiB: number }[]> {
  const answer = await remote
    .nodeGetCellsFreeMemory({ startCell: id, maxcells: 1 }, options)
    .catch(() => ({ cells: [] as bigint[] }));
  return answer.cells.map((bytes) => ({ id, freeMiB: Math.floor(Number(bytes) / 1024 ** 2) }));
}

async function freePages(
  remote: Remote,
  sizeKiB: number,
  cells: readonly number[],
  options: CallOptions,
): Promise<{ sizeKiB: number; free: number }> {
  const counts = await Promise.all(
    cells.map(async (startCell) => {
      const args = { pages: [sizeKiB], startCell, cellCount: 1 };
      const answer = await remote.nodeGetFreePages(args, options).catch(() => ({ counts: [] as bigint[] }));
      return Number(answer.counts[0] ?? 0n);
    }),
  );
  return { sizeKiB, free: counts.reduce((sum, count) => sum + count, 0) };
}

/** A refused connection has reached the host; silence and ICMP's "unreachable" or "prohibited" are a packet filter's. */
function portState(uri: string): Promise<MigrationReception["port"]["state"]> {
  const { host } = parseUri(uri);
  if (host === "" || host === undefined) return Promise.resolve("unknown");
  const { promise, resolve } = Promise.withResolvers<MigrationReception["port"]["state"]>();
  const socket = dial({ host, port: lastMigrationPort });
  socket.setTimeout(dialMs, () => resolve("filtered"));
  socket.once("connect", () => resolve("open"));
  socket.once("error", (error: Error & { code?: string }) => {
    const filtered = ["EHOSTUNREACH", "ENETUNREACH", "EACCES", "ETIMEDOUT"].includes(error.code ?? "");
    resolve(error.code === "ECONNREFUSED" ? "open" : filtered ? "filtered" : "unknown");
  });
  return promise.finally(() => socket.destroy());
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
