/**
 * A VM's definition → the XML of a new domain. Invariant: everything the spec names is in the document, what it leaves
 * out gets the default that is written here, and nothing else. Facts: libvirt 9.0 docs/formatdomain.rst; the choice of
 * defaults follows virt-install 4.1 (virtinst/guest.py), which is what administrators expect.
 */
import { DOMImplementation, type Element } from "@xmldom/xmldom";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import { serializeXml } from "#libvirt/xml.ts";
import type { GuestDefinition } from "#virtualization/port.ts";
import { editCpu } from "./cpu.ts";
import { diskElement } from "./disk.ts";
import { buildFromDocument, isFromDocument } from "./document.ts";
import { add, append, ensure } from "./element.ts";
import { editHardware, type Hardware } from "./hardware.ts";
import { addControllers, isQ35 } from "./machine.ts";
import { editMemory } from "./memory.ts";
import { editMetadata } from "./metadata.ts";
import { nicElement } from "./nic.ts";

/** What the host's libvirt says of one domain type, architecture and machine. */
export interface Platform {
  /** Absent: libvirt's default for the type. */
  readonly emulator?: string;
  /** For a spec that names none. */
  readonly cpuModel?: string;
}

/** Domain types whose guests boot like a PC; a spec says nothing that could define others (an LXC's init, say). */
const definableTypes: readonly string[] = ["kvm", "qemu", "test"];

/** By architecture: QEMU's machine for virtual machines. */
const defaultMachine: Readonly<Record<string, string>> = {
  x86_64: "q35",
  i686: "q35",
  aarch64: "virt",
  riscv64: "virt",
  ppc64le: "pseries",
  s390x: "s390-ccw-virtio",
};

export function defaultMachineOf(spec: Pick<VmSpec, "architecture" | "machine">): string | undefined {
  return spec.machine ?? defaultMachine[spec.architecture];
}

export function checkDefinable({ domainType }: Pick<VmSpec, "domainType">): void {
  if (definableTypes.includes(domainType)) return;
  const message = `A new VM of type ${domainType} can't be made; ${definableTypes.join(", ")} can.`;
  throw new AppError("unsupported", message, { field: "domainType" });
}

export function buildDomainXml(definition: GuestDefinition, platform: Platform): string {
  const { spec } = definition;
  checkDefinable(spec);
  if (isFromDocument(definition)) return buildFromDocument(definition, platform);
  const document = new DOMImplementation().createDocument(null, "domain", null);
  const root = document.documentElement;
  if (root === null) throw new TypeError("a new document without an element");
  root.setAttribute("type", spec.domainType);
  add(root, "name", {}, definition.name);
  add(root, "uuid", {}, definition.uuid);
  editMetadata(root, definition.metadata);
  addCpuAndMemory(root, spec, platform);
  addPlatform(root, spec);
  addDevices(root, spec, platform);
  return `${serializeXml(root)}\n`;
}

function addCpuAndMemory(root: Element, spec: VmSpec, platform: Platform): void {
  const { numaCells, ...memory } = spec.memory;
  editMemory(root, memory);
  const model = spec.cpu.model ?? platform.cpuModel;
  editCpu(root, { ...spec.cpu, ...(model !== undefined && { model }) });
  if (numaCells !== undefined && numaCells.length > 0) {
    const sum = numaCells.reduce((total, cell) => total + cell.memoryMiB, 0);
    if (sum !== spec.memory.sizeMiB) {
      const message = `the cells have ${sum} MiB together, the VM ${spec.memory.sizeMiB} MiB.`;
      throw new AppError("invalid_field", message, { field: "memory.numaCells" });
    }
    editMemory(root, { numaCells });
  }
}

function addPlatform(root: Element, spec: VmSpec): void {
  const isX86 = ["x86_64", "i686"].includes(spec.architecture);
  const os = add(root, "os");
  const machine = spec.domainType === "test" ? undefined : defaultMachineOf(spec);
  add(os, "type", { arch: spec.architecture, machine }, "hvm");
  addBootDevices(os, spec);
  const features = add(root, "features");
  add(features, "acpi");
  if (isX86) add(features, "apic");
  if (isX86 && spec.domainType !== "test") add(features, "vmport", { state: "off" });
  const clock = add(root, "clock", { offset: "utc" });
  if (isX86) {
    add(clock, "timer", { name: "rtc", tickpolicy: "catchup" });
    add(clock, "timer", { name: "pit", tickpolicy: "delay" });
    add(clock, "timer", { name: "hpet", present: "no" });
  }
  add(root, "on_poweroff", {}, "destroy");
  add(root, "on_reboot", {}, "restart");
  add(root, "on_crash", {}, "destroy");
  if (isX86) {
    const power = add(root, "pm");
    add(power, "suspend-to-mem", { enabled: "no" });
    add(power, "suspend-to-disk", { enabled: "no" });
  }
}

/**
 * Without an order of its own a VM tries its disk, then a CD-ROM (so that a blank disk gets installed), and the network
 * only if it has neither: firmware that waits for PXE is slow.
 */
function addBootDevices(os: Element, spec: VmSpec): void {
  if ([...spec.disks, ...spec.nics].some((device) => device.bootOrder !== undefined)) return;
  const kinds = new Set(spec.disks.map((disk) => disk.device));
  if (kinds.has("disk")) add(os, "boot", { dev: "hd" });
  if (kinds.has("cdrom")) add(os, "boot", { dev: "cdrom" });
  if (kinds.size === 0 && spec.nics.length > 0) add(os, "boot", { dev: "network" });
}

function addDevices(root: Element, spec: VmSpec, platform: Platform): void {
  const devices = ensure(root, "devices");
  if (platform.emulator !== undefined) add(devices, "emulator", {}, platform.emulator);
  for (const disk of spec.disks) append(devices, diskElement(root, disk));
  const machine = defaultMachineOf(spec) ?? "";
  const isPc = isQ35(machine) || machine === "pc" || machine.startsWith("pc-");
  if (spec.domainType !== "test" && (isPc || machine.startsWith("virt"))) addControllers(root, machine);
  // libvirt's default SCSI controller is an LSI of 1996 that few guests have a driver for.
  if (spec.disks.some((disk) => disk.bus === "scsi")) {
    add(devices, "controller", { type: "scsi", model: "virtio-scsi" });
  }
  for (const nic of spec.nics) append(devices, nicElement(root, nic));
  if (spec.domainType === "test") return;
  const graphics = spec.graphics ?? "vnc";
  editHardware(root, { ...hardwareDefaults(graphics), ...hardwareOf(spec) });
  if (graphics !== "none" && isPc) add(devices, "input", { type: "tablet", bus: "usb" });
  add(add(devices, "rng", { model: "virtio" }), "backend", { model: "random" }, "/dev/urandom");
}

function hardwareDefaults(graphics: NonNullable<Hardware["graphics"]>): Hardware {
  return {
    graphics,
    video: graphics === "none" ? "none" : "virtio",
    serial: true,
    guestAgent: true,
    balloon: true,
  };
}

function hardwareOf(spec: VmSpec): Hardware {
  const { firmware, tpm, graphics, video, serial, guestAgent, balloon, ioThreads } = spec;
  const fields = { firmware, tpm, graphics, video, serial, guestAgent, balloon, ioThreads };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Hardware;
}
