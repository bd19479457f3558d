/**
 * Whether a definition can work on this host, before anything is touched. First our own checks, which name the field;
 * then libvirt's: the definition is turned into a command line without being defined (virConnectDomainXMLToNative,
 * libvirt 9.0 qemuConnectDomainXMLToNative), which runs all rules of libvirt's and QEMU's that need no running guest.
 */
import type { CallOptions, Connection } from "@innkeeper/libvirt";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { isLibvirtCode, isNotFound } from "#libvirt/error.ts";
import { libvirtVersion } from "#libvirt/version.ts";
import { readXml } from "#libvirt/read-xml.ts";
import { elements, integer } from "#libvirt/xml.ts";
import type { GuestDefinition } from "#virtualization/port.ts";
import { buildDomainXml, checkDefinable } from "./domain-xml/build.ts";
import { parseCpuSet } from "./domain-xml/cpu-set.ts";
import { parseDocument } from "./domain-xml/document.ts";
import { readMachine } from "./domain-xml/machine.ts";
import { forLibvirt } from "./domain-xml/older-libvirt.ts";
import { readSpec } from "./domain-xml/spec.ts";
import { hostCpuCount } from "./guest.ts";
import { requireFreshState } from "./guest-state.ts";
import { type PlatformCapabilities, platformCapabilities, platformOf } from "./platform.ts";

/** Modes of <cpu>; anything else is a model's name. */
const cpuModes: readonly string[] = ["host-model", "host-passthrough", "maximum"];

export async function checkDefinition(
  connection: Connection,
  definition: GuestDefinition,
  options: CallOptions,
): Promise<void> {
  const { remote } = connection;
  const isThere = await checkName(connection, definition.name, definition.uuid, options);
  const { xml: domainXml, spec } = await renderDefinition(connection, definition, options);
  if (!isThere) await requireFreshState(connection, definition.uuid, readXml(domainXml), options);
  checkSets(spec);
  await checkHost(connection, spec, options);
  await remote.connectDomainXmlToNative({ nativeFormat: "qemu-argv", domainXml }, options).catch((error: unknown) => {
    if (!isLibvirtCode(error, "VIR_ERR_NO_SUPPORT")) throw error;
  });
}

/**
 * A definition as the XML that libvirt is given, and what that says (a client's document says more than the spec); throws
 * what the host's capabilities say no to.
 */
export async function renderDefinition(
  connection: Connection,
  definition: GuestDefinition,
  options: CallOptions,
): Promise<{ readonly xml: string; readonly spec: VmSpec }> {
  const { document, spec } = definition;
  checkDefinable(spec);
  const machine = document === undefined ? spec.machine : readMachine(parseDocument(document));
  const { domainType, architecture } = spec;
  const asked = { domainType, architecture, ...(machine !== undefined && { machine }) };
  const capabilities = await platformCapabilities(connection, asked, options);
  if (capabilities && document === undefined) checkPlatform(spec, capabilities);
  const version = await libvirtVersion(connection, options);
  const xml = forLibvirt(buildDomainXml(definition, platformOf(capabilities)), version);
  if (document === undefined) return { xml, spec };
  const said = readSpec(readXml(xml));
  if (capabilities) checkPlatform(said, capabilities);
  return { xml, spec: said };
}

/** Throws name_taken if another guest than `uuid` has the name; whether the guest `uuid` has it. */
export async function checkName(
  connection: Connection,
  name: string,
  uuid: string,
  options: CallOptions,
): Promise<boolean> {
  const other = await connection.remote.domainLookupByName({ name }, options).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
  if (other && other.dom.uuid !== uuid.toLowerCase()) {
    throw new AppError("name_taken", `The host has another VM named ${name}.`, {
      field: "name",
      fault: { uuid: other.dom.uuid },
    });
  }
  return other !== undefined;
}

/** What the host's capabilities say no to. */
export function checkPlatform(spec: VmSpec, capabilities: PlatformCapabilities): void {
  const { model } = spec.cpu;
  if (model !== undefined) checkModel(model, spec.domainType, capabilities);
  const maxCount = spec.cpu.maxCount ?? spec.cpu.count;
  if (capabilities.vcpuMax !== undefined && maxCount > capabilities.vcpuMax) {
    const message = `${maxCount} vCPUs are more than the ${capabilities.vcpuMax} that this machine type can have.`;
    throw new AppError("invalid_field", message, { field: "cpu.count" });
  }
  if (spec.firmware !== undefined && spec.firmware !== "bios") {
    const known = capabilities.firmwares?.includes("efi") ?? true;
    if (!known || (spec.firmware === "uefi-secure" && !capabilities.secureBoot)) {
      const what = spec.firmware === "uefi" ? "UEFI" : "UEFI with secure boot";
      throw missing(`The host has no firmware for ${what} with this machine type.`, "firmware", "ovmf");
    }
  }
  if (spec.tpm === true && capabilities.tpm === false) {
    throw missing("The host can't emulate a TPM.", "tpm", "swtpm and swtpm-tools");
  }
  checkOffered("graphics", spec.graphics, capabilities.graphics);
  checkOffered("video", spec.video, capabilities.videos);
}

function checkModel(model: string, domainType: string, capabilities: PlatformCapabilities): void {
  const { cpuModes: modes, cpuModels } = capabilities;
  if (cpuModes.includes(model)) {
    if (modes.length === 0 || modes.includes(model)) return;
    const offered = modes.filter((mode) => mode !== "custom").join(", ") || "named models only";
    const message = `CPU ${model} does not exist for a VM of type ${domainType} on this host; it has ${offered}.`;
    throw new AppError("unsupported", message, { field: "cpu.model" });
  }
  if (cpuModels.length === 0 || cpuModels.includes(model)) return;
  throw new AppError("unsupported", `This host can't run CPU model ${model}.`, {
    field: "cpu.model",
    remedy: `Choose one of ${cpuModels.join(", ")}.`,
  });
}

function checkOffered(field: string, value: string | undefined, offered: readonly string[] | undefined): void {
  if (value === undefined || value === "none" || offered === undefined || offered.includes(value)) return;
  const list = offered.join(", ") || "none";
  throw new AppError("unsupported", `This host's QEMU has no ${field} ${value}; it has ${list}.`, { field });
}

function missing(message: string, field: string, packages: string): AppError {
  return new AppError("unsupported", message, { field, remedy: `Install ${packages} on the host.` });
}

/** Sets of numbers that contradict the VM's own size. */
export function checkSets(spec: VmSpec): void {
  const maxCount = spec.cpu.maxCount ?? spec.cpu.count;
  for (const { vcpu } of spec.cpu.pinning ?? []) {
    if (vcpu >= maxCount) {
      const message = `There is no vCPU ${vcpu}: the VM has vCPUs 0 to ${maxCount - 1}.`;
      throw new AppError("invalid_field", message, { field: "cpu.pinning" });
    }
  }
  const seen = new Set<number>();
  for (const cell of spec.memory.numaCells ?? []) {
    for (const vcpu of parseCpuSet(cell.cpus) ?? []) {
      const problem = vcpu >= maxCount ? "does not exist" : seen.has(vcpu) ? "is in two cells" : undefined;
      if (problem) throw new AppError("invalid_field", `vCPU ${vcpu} ${problem}.`, { field: "memory.numaCells" });
      seen.add(vcpu);
    }
  }
}

/** CPUs, NUMA nodes and page sizes that the host does not have. */
export async function checkHost(connection: Connection, spec: VmSpec, options: CallOptions): Promise<void> {
  const pins = [...(spec.cpu.pinning ?? []).map((pin) => pin.hostCpus), spec.cpu.emulatorPinning].flatMap(
    (set) => set ?? [],
  );
  const nodes = (spec.memory.numaCells ?? []).flatMap((cell) => cell.hostNodes ?? []);
  const hugepageKiB = spec.memory.hugepageKiB === 0 ? undefined : spec.memory.hugepageKiB;
  if (pins.length === 0 && nodes.length === 0 && hugepageKiB === undefined) return;
  const cpuCount = await hostCpuCount(connection.remote, options);
  for (const set of pins) checkWithin(set, cpuCount, "CPU", "cpu.pinning");
  const { capabilities } = await connection.remote.connectGetCapabilities({}, options);
  const root = readXml(capabilities);
  const cells = elements(root, "host/topology/cells/cell");
  for (const set of nodes) checkWithin(set, Math.max(1, cells.length), "NUMA node", "memory.numaCells");
  if (hugepageKiB === undefined) return;
  const sizes = elements(root, "host/cpu/pages").map((page) => integer(page.getAttribute("size") ?? undefined));
  if (sizes.length > 0 && !sizes.includes(hugepageKiB)) {
    const message = `The host has no pages of ${hugepageKiB} KiB; it has ${sizes.join(", ")} KiB.`;
    throw new AppError("invalid_field", message, { field: "memory.hugepageKiB" });
  }
}

function checkWithin(set: string, count: number, what: string, field: string): void {
  const numbers = parseCpuSet(set);
  if (numbers === undefined || numbers.length === 0) {
    throw new AppError("invalid_field", `"${set}" names no ${what}.`, { field });
  }
  const beyond = numbers.find((number) => number >= count);
  if (beyond !== undefined) {
    const message = `The host has no ${what} ${beyond}: it has 0 to ${count - 1}.`;
    throw new AppError("invalid_field", message, { field });
  }
}
