/**
 * What a host says of itself in XML: capabilities (https://libvirt.org/formatcaps.html), domain capabilities
 * (https://libvirt.org/formatdomaincaps.html), sysinfo (https://libvirt.org/formatdomain.html#smbios-system-information);
 * libvirt 9.0.
 */
import type { HostHardware } from "@innkeeper/contract/resource/host.ts";
import { type ReadElement, readXml } from "#libvirt/read-xml.ts";
import { attribute, childElements, element, elements, integer, sizeBytes, text } from "#libvirt/xml.ts";

export interface Capabilities {
  readonly uuid: string;
  readonly architecture: string;
  readonly cpuModel: string | undefined;
  readonly cpuVendor: string | undefined;
  readonly topology: { readonly sockets: number; readonly cores: number; readonly threads: number } | undefined;
  readonly numaNodes: HostHardware["numaNodes"];
  /** Domain types of full virtualization (or, without any, of what there is) for the host's own architecture. */
  readonly domainTypes: readonly string[];
  readonly machineTypes: readonly string[];
  readonly emulator: string | undefined;
  /** Security drivers that are on; libvirt tells `none` where there is none but users. */
  readonly confinements: readonly string[];
}

export function readCapabilities(xmlText: string): Capabilities {
  const root = readXml(xmlText);
  const architecture = text(root, "host/cpu/arch") ?? "unknown";
  const own = guestsOf(root, architecture);
  const hvm = own.filter((guest) => text(guest, "os_type") === "hvm");
  const guests = hvm.length > 0 ? hvm : own;
  const arches = guests.flatMap((guest) => childElements(guest, "arch"));
  const topology = element(root, "host/cpu/topology");
  return {
    uuid: text(root, "host/uuid") ?? "",
    architecture,
    cpuModel: text(root, "host/cpu/model"),
    cpuVendor: text(root, "host/cpu/vendor"),
    topology:
      topology === undefined
        ? undefined
        : {
            // `dies` multiply the sockets' cores (libvirt 6.0 on).
            sockets:
              (integer(attribute(topology, ".", "sockets")) ?? 1) * (integer(attribute(topology, ".", "dies")) ?? 1),
            cores: integer(attribute(topology, ".", "cores")) ?? 1,
            threads: integer(attribute(topology, ".", "threads")) ?? 1,
          },
    numaNodes: elements(root, "host/topology/cells/cell").map((cell) => ({
      id: integer(attribute(cell, ".", "id")) ?? 0,
      memoryMiB: Math.floor((sizeBytes(cell, "memory", "KiB") ?? 0) / 1024 ** 2),
      cpus: elements(cell, "cpus/cpu").flatMap((cpu) => integer(attribute(cpu, ".", "id")) ?? []),
    })),
    domainTypes: unique(
      arches.flatMap((arch) => childElements(arch, "domain").map((domain) => attribute(domain, ".", "type") ?? "")),
    ),
    machineTypes: unique(arches.flatMap((arch) => elements(arch, "machine").map((each) => each.textContent ?? ""))),
    emulator: arches.map((arch) => text(arch, "emulator")).find((path) => path !== undefined),
    confinements: elements(root, "host/secmodel/model")
      .map((model) => model.textContent ?? "")
      .filter((model) => model !== "none" && model !== ""),
  };
}

/** Guests whose architecture is the host's; all when none is (libvirt's test driver). */
function guestsOf(root: ReadElement, architecture: string): ReadElement[] {
  const guests = childElements(root, "guest");
  const own = guests.filter((guest) => attribute(guest, "arch", "name") === architecture);
  return own.length > 0 ? own : guests;
}

export interface DomainCapabilities {
  readonly firmwares: readonly string[];
  readonly cpuModels: readonly string[];
  readonly tpmSupported: boolean;
  /** Absent: the host does not say. */
  readonly graphicsTypes?: readonly string[];
  readonly videoModels?: readonly string[];
}

export function readDomainCapabilities(xmlText: string): DomainCapabilities {
  const root = readXml(xmlText);
  const os = element(root, "os");
  const enums = os === undefined ? [] : childElements(os, "enum");
  const firmware = enums.filter((each) => each.getAttribute("name") === "firmware").flatMap(valuesOf);
  const loader = element(root, "os/loader");
  const secure = loader === undefined ? [] : valuesOfEnum(loader, "secure");
  const hasEfi = firmware.includes("efi");
  const tpm = element(root, "devices/tpm");
  const graphics = offered(root, "graphics", "type");
  const videos = offered(root, "video", "modelType");
  return {
    firmwares: ["bios", ...(hasEfi ? ["uefi"] : []), ...(hasEfi && secure.includes("yes") ? ["uefi-secure"] : [])],
    cpuModels: cpuModelsOf(root),
    tpmSupported:
      tpm !== undefined &&
      tpm.getAttribute("supported") === "yes" &&
      valuesOfEnum(tpm, "backendModel").includes("emulator"),
    ...(graphics.length === 0 ? {} : { graphicsTypes: graphics }),
    ...(videos.length === 0 ? {} : { videoModels: videos }),
  };
}

function offered(root: ReadElement, device: string, name: string): string[] {
  const found = element(root, `devices/${device}`);
  return found === undefined ? [] : valuesOfEnum(found, name);
}

function cpuModelsOf(root: ReadElement): string[] {
  const models: string[] = [];
  for (const mode of elements(root, "cpu/mode")) {
    const name = mode.getAttribute("name") ?? "";
    if (mode.getAttribute("supported") !== "yes") continue;
    if (name !== "custom") models.push(name);
    else {
      const usable = childElements(mode, "model").filter((model) => model.getAttribute("usable") === "yes");
      models.push(...usable.map((model) => model.textContent ?? ""));
    }
  }
  return unique(models);
}

function valuesOfEnum(parent: ReadElement, name: string): string[] {
  return childElements(parent, "enum")
    .filter((each) => each.getAttribute("name") === name)
    .flatMap(valuesOf);
}

function valuesOf(parent: ReadElement): string[] {
  return childElements(parent, "value").map((value) => value.textContent ?? "");
}

export interface SystemInformation {
  readonly vendor?: string;
  readonly product?: string;
  readonly serialNumber?: string;
  readonly cpuModel?: string;
}

/** Firmware writers leave such texts where they had nothing to say. */
const placeholder =
  /^(to be filled by o\.e\.m\.|default string|not specified|none|unknown|0+|system (serial number|product name|manufacturer))?$/i;

export function readSystemInformation(xmlText: string): SystemInformation {
  const root = readXml(xmlText);
  const entry = (path: string, name: string): string | undefined => {
    const found = elements(root, path).find((each) => each.getAttribute("name") === name);
    const value = found?.textContent?.trim();
    return value === undefined || placeholder.test(value) ? undefined : value;
  };
  const vendor = entry("system/entry", "manufacturer");
  const product = entry("system/entry", "product");
  const serialNumber = entry("system/entry", "serial");
  const cpuModel = entry("processor/entry", "version");
  return {
    ...(vendor === undefined ? {} : { vendor }),
    ...(product === undefined ? {} : { product }),
    ...(serialNumber === undefined ? {} : { serialNumber }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
  };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values.filter((value) => value !== ""))];
}
