/**
 * Whether a CPU, memory and device request makes sense by itself, and whether a host can give it. The first throws; the
 * second lists every problem, since placement has to say of each host why it is not chosen.
 */
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import type { Host } from "@innkeeper/contract/resource/host.ts";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { parseCpuSet, refuse, refuseDuplicates } from "./field-check.ts";

/** Why a host does not fit. */
export interface Problem {
  readonly code: ErrorCode;
  readonly field: string;
  /** A sentence that names the host. */
  readonly message: string;
}

type HardwareRequest = Pick<VmCreate, "machine" | "firmware" | "tpm"> & {
  readonly cpu?: Partial<VmSpec["cpu"]>;
  readonly memory?: Partial<VmSpec["memory"]>;
};

/** Throws invalid_field for what no host could give. */
export function checkHardware({ cpu, memory }: HardwareRequest): void {
  if (cpu !== undefined) checkCpu(cpu);
  if (memory !== undefined) checkMemory(memory);
}

function checkCpu(cpu: Partial<VmSpec["cpu"]>): void {
  const { count, maxCount, topology, pinning } = cpu;
  const most = maxCount ?? count;
  if (count !== undefined && maxCount !== undefined && count > maxCount) {
    refuse("cpu.count", `cpu.count (${count}) must not be more than cpu.maxCount (${maxCount}).`);
  }
  if (topology !== undefined && most !== undefined) {
    const product = topology.sockets * topology.cores * topology.threads;
    if (product !== most) {
      refuse("cpu.topology", `sockets × cores × threads is ${product}, but the VM has ${most} vCPUs.`);
    }
  }
  if (pinning !== undefined) checkPinning(pinning, most);
  if (cpu.emulatorPinning !== undefined && parseCpuSet(cpu.emulatorPinning) === undefined) {
    refuse("cpu.emulatorPinning", `"${cpu.emulatorPinning}" is no set of CPUs.`);
  }
}

function checkPinning(pinning: NonNullable<VmSpec["cpu"]["pinning"]>, most: number | undefined): void {
  refuseDuplicates(
    pinning.map((pin) => pin.vcpu),
    (index) => `cpu.pinning[${index}].vcpu`,
    (vcpu) => `vCPU ${vcpu}`,
  );
  for (const [index, pin] of pinning.entries()) {
    if (most !== undefined && pin.vcpu >= most) {
      refuse(`cpu.pinning[${index}].vcpu`, `There is no vCPU ${pin.vcpu}: the VM has 0 to ${most - 1}.`);
    }
    if (parseCpuSet(pin.hostCpus) === undefined) {
      refuse(`cpu.pinning[${index}].hostCpus`, `"${pin.hostCpus}" is no set of CPUs.`);
    }
  }
}

function checkMemory(memory: Partial<VmSpec["memory"]>): void {
  const { sizeMiB, balloonMiB, reservationMiB, limitMiB, numaCells } = memory;
  if (sizeMiB === undefined) return;
  for (const [field, value] of Object.entries({ balloonMiB, reservationMiB })) {
    if (value !== undefined && value > sizeMiB) {
      refuse(`memory.${field}`, `memory.${field} (${value}) must not be more than memory.sizeMiB (${sizeMiB}).`);
    }
  }
  if (limitMiB !== undefined && limitMiB !== 0 && limitMiB < sizeMiB) {
    refuse("memory.limitMiB", `memory.limitMiB (${limitMiB}) must not be less than memory.sizeMiB (${sizeMiB}).`);
  }
  if (numaCells !== undefined && numaCells.length > 0) {
    const sum = numaCells.reduce((total, cell) => total + cell.memoryMiB, 0);
    if (sum !== sizeMiB) {
      refuse("memory.numaCells", `The NUMA cells have ${sum} MiB together, but the VM has ${sizeMiB} MiB.`);
    }
  }
}

/** What this host lacks for the request, most fundamental first; empty if nothing. */
export function hostProblems(host: Host, request: HardwareRequest, domainType: string): Problem[] {
  const { hardware } = host;
  if (hardware === undefined) return [];
  const problems: Problem[] = [];
  const add = (code: ErrorCode, field: string, message: string): void => {
    problems.push({ code, field, message });
  };
  const sizeMiB = request.memory?.sizeMiB;
  if (sizeMiB !== undefined && sizeMiB > hardware.memoryMiB) {
    add(
      "invalid_field",
      "memory.sizeMiB",
      `Host ${host.name} has ${hardware.memoryMiB} MiB of memory, not ${sizeMiB}.`,
    );
  }
  const vcpus = Math.max(request.cpu?.count ?? 0, request.cpu?.maxCount ?? 0);
  if (vcpus > hardware.cpuCount) {
    const field = (request.cpu?.maxCount ?? 0) > hardware.cpuCount ? "cpu.maxCount" : "cpu.count";
    add("invalid_field", field, `Host ${host.name} has ${hardware.cpuCount} logical CPUs, fewer than ${vcpus} vCPUs.`);
  }
  for (const [field, text] of pinnedSets(request)) {
    const highest = Math.max(...(parseCpuSet(text) ?? []));
    if (highest >= hardware.cpuCount) {
      add("invalid_field", field, `Host ${host.name} has no CPU ${highest}: it has 0 to ${hardware.cpuCount - 1}.`);
    }
  }
  const { machine, firmware, tpm } = request;
  if (machine !== undefined && hardware.machineTypes.length > 0 && !hardware.machineTypes.includes(machine)) {
    add("unsupported", "machine", `Host ${host.name} has no machine type ${machine}.`);
  }
  if (firmware !== undefined && !hardware.firmwares.includes(firmware)) {
    const has = hardware.firmwares.join(", ");
    add("unsupported", "firmware", `Host ${host.name} has no ${firmware} firmware for guests; it has: ${has}.`);
  }
  if (tpm === true && !hardware.tpmSupported) {
    add("unsupported", "tpm", `Host ${host.name} has no TPM emulator (package swtpm).`);
  }
  const model = request.cpu?.model;
  if (model !== undefined) {
    const problem = cpuModelProblem(host, model, domainType);
    if (problem !== undefined) add("unsupported", "cpu.model", problem);
  }
  return problems;
}

function pinnedSets(request: HardwareRequest): [string, string][] {
  const pins: [string, string][] = (request.cpu?.pinning ?? []).map((pin, index) => [
    `cpu.pinning[${index}].hostCpus`,
    pin.hostCpus,
  ]);
  const emulator = request.cpu?.emulatorPinning;
  return emulator === undefined ? pins : [...pins, ["cpu.emulatorPinning", emulator]];
}

/** libvirt 9.0 formatdomain: host-model and host-passthrough need hardware virtualization, maximum works everywhere. */
function cpuModelProblem(host: Host, model: string, domainType: string): string | undefined {
  if (model === "maximum") return undefined;
  if (model === "host-model" || model === "host-passthrough") {
    if (domainType === "kvm") return undefined;
    return `Host ${host.name} runs guests without KVM, where CPU model ${model} does not exist; use maximum or a named model.`;
  }
  const models = host.hardware?.cpuModels ?? [];
  if (models.length === 0 || models.includes(model)) return undefined;
  return `Host ${host.name} can't give guests the CPU model ${model}.`;
}
