/** Checks of a migration: whether the target can be the same machine: type, CPU, firmware, TPM. */
import type { MigrationFinding } from "@innkeeper/contract/resource/migration.ts";
import type { MigrationFacts } from "./migration-fact.ts";
import { refused, warned } from "./migration-finding.ts";

const chooseAnother = "Choose a host that has it, or change the VM.";

export function checkMachine({ vm, target, reception }: MigrationFacts): MigrationFinding[] {
  const { spec } = vm;
  const { hardware } = target;
  const findings: MigrationFinding[] = [];
  const refuse = (message: string, remedy = chooseAnother): void => {
    findings.push(refused("machine", "unsupported", message, remedy));
  };
  if (hardware !== undefined) {
    const noKvm = spec.domainType === "kvm" && hardware.kvm.usable === false;
    if (!hardware.domainTypes.includes(spec.domainType) || noKvm) {
      refuse(`Host ${target.name} can't run guests of type ${spec.domainType}.`);
    }
    if (hardware.architecture !== spec.architecture && spec.domainType === "kvm") {
      refuse(`Host ${target.name} is ${hardware.architecture}, the VM is ${spec.architecture}.`);
    }
    const { machine } = spec;
    const types = hardware.machineTypes;
    if (machine !== undefined && types.length > 0 && !types.includes(machine)) {
      const remedy = "Upgrade QEMU there, or power the VM off and give it a machine type that both hosts have.";
      refuse(`Host ${target.name} has no machine type ${machine}.`, remedy);
    }
  }
  const problem = reception?.machineProblem;
  if (problem !== undefined && findings.length === 0) refuse(`Host ${target.name}: ${problem}`);
  const vcpus = Math.max(spec.cpu.count, spec.cpu.maxCount ?? 0);
  const most = reception?.vcpuMax;
  if (most !== undefined && vcpus > most) {
    refuse(`The VM may have ${vcpus} vCPUs; its machine type takes at most ${most} on host ${target.name}.`);
  }
  if (hardware !== undefined && spec.cpu.count > hardware.cpuCount) {
    const message = `The VM has ${spec.cpu.count} vCPUs, host ${target.name} only ${hardware.cpuCount} CPUs: it will be slow there.`;
    findings.push(warned("machine", message, "Choose a larger host, or take vCPUs away."));
  }
  return findings;
}

export function checkCpu(facts: MigrationFacts): MigrationFinding[] {
  const { vm, target, live, traits, reception } = facts;
  const { model } = vm.spec.cpu;
  const isHosts = traits?.hostCpuXml !== undefined;
  if (isHosts && live) return checkHostCpu(facts);
  if (reception?.cpu.result === "incompatible") {
    const words = reception.cpu.detail === "" ? "" : `: ${reception.cpu.detail}`;
    const message = `Host ${target.name} can't give the VM its CPU${words}`;
    const remedy =
      "Choose a host with these features, or power the VM off and give it a CPU model that both hosts have.";
    return [refused("cpu", "unsupported", message, remedy)];
  }
  const models = target.hardware?.cpuModels ?? [];
  const isNamed = model !== undefined && !["host-model", "host-passthrough", "maximum"].includes(model);
  const isCompared = reception !== undefined && reception.cpu.result !== "unknown";
  if (!isNamed || isCompared || models.length === 0 || models.includes(model)) return [];
  const message = `Host ${target.name} can't give guests the CPU model ${model}.`;
  const remedy = "Choose a host that has it, or power the VM off and give it a CPU model that both hosts have.";
  return [refused("cpu", "unsupported", message, remedy)];
}

/** A guest that was given its host's own CPU while it runs: it goes on with what it was told at its start. */
function checkHostCpu({ vm, source, target, reception }: MigrationFacts): MigrationFinding[] {
  const model = vm.spec.cpu.model ?? "";
  const remedy = "Choose a host of the same CPU, or power the VM off and give it a CPU model that both hosts have.";
  if (vm.spec.domainType !== "kvm") {
    const [ours, theirs] = [source?.hardware?.hypervisorVersion, target.hardware?.hypervisorVersion];
    if (ours === undefined || theirs === undefined || ours === theirs) return [];
    const message = `The VM has CPU ${model} of QEMU ${ours}; host ${target.name} has QEMU ${theirs}, whose may differ.`;
    return [warned("cpu", message, "Choose a host of the same QEMU, or move the VM while it is off.")];
  }
  const words = reception?.cpu.detail ? `: ${reception.cpu.detail}` : ".";
  if (reception?.cpu.result === "incompatible") {
    const message = `The VM has the CPU of host ${source?.name} (${model}), and host ${target.name} lacks features of it${words}`;
    return [refused("cpu", "unsupported", message, remedy)];
  }
  if (reception?.cpu.result !== "superset") return [];
  const message = `The VM has the CPU of host ${source?.name} (${model}), and that of host ${target.name} is not the same: the guest may fail.`;
  return [warned("cpu", message, remedy)];
}

export function checkFirmware(facts: MigrationFacts): MigrationFinding[] {
  return [...checkLoader(facts), ...checkBootFiles(facts)];
}

/**
 * A guest that runs has read them; QEMU reads them again where it arrives: it loads them while it makes the machine, also
 * with -incoming, and ends with "could not open kernel file" where they are missing (seen with QEMU 7.2).
 */
function checkBootFiles({ target, live, ownBootFiles = [] }: MigrationFacts): MigrationFinding[] {
  return ownBootFiles.map(({ kind, path, fileThere }) => {
    const about = { device: path };
    if (fileThere) {
      const message = `The VM boots with the ${kind} ${path}; host ${target.name} has a file of that path, which may be another one.`;
      return warned("firmware", message, "See to it that both hosts have the same file.", about);
    }
    const message = `The VM boots with the ${kind} ${path} of its host; nothing says that host ${target.name} has it.`;
    const remedy = `Put it into a shared pool; or copy it to the same path on host ${target.name} and create a pool there for its folder (inn pool create).`;
    return live
      ? refused("firmware", "unsupported", message, remedy, about)
      : warned("firmware", message, remedy, about);
  });
}

function checkLoader({ vm, target, live, traits, reception }: MigrationFacts): MigrationFinding[] {
  const { firmware } = vm.spec;
  if (firmware === undefined || firmware === "bios") return [];
  const has = target.hardware?.firmwares;
  const findings: MigrationFinding[] = [];
  if (has !== undefined && !has.includes(firmware)) {
    const message = `Host ${target.name} has no ${firmware} firmware for guests; it has: ${has.join(", ")}.`;
    findings.push(
      refused("firmware", "unsupported", message, "Install it there (package ovmf), or choose another host."),
    );
  }
  const { loader, ownNvram } = traits ?? {};
  const loaders = reception?.loaders;
  if (loader !== undefined && loaders !== undefined && loaders.length > 0 && !loaders.includes(loader)) {
    const message = `Host ${target.name} has no firmware image ${loader}, which the VM uses.`;
    const remedy = `Install the same firmware package there, or let the VM use one of ${loaders.join(", ")}.`;
    findings.push(refused("firmware", "unsupported", message, remedy));
  }
  if (ownNvram !== undefined) {
    const message = `The VM keeps its firmware's variables in ${ownNvram}, outside of libvirt's folder.`;
    const remedy = `See to it that host ${target.name} has this folder, or move the file to /var/lib/libvirt/qemu/nvram (virsh edit).`;
    findings.push(live ? warned("firmware", message, remedy) : refused("firmware", "unsupported", message, remedy));
  }
  return findings;
}

export function checkTpm({ vm, target, traits, reception }: MigrationFacts): MigrationFinding[] {
  const kind = traits?.tpm ?? (vm.spec.tpm === true ? "emulator" : "none");
  if (kind === "none") return [];
  if (kind !== "emulator") {
    const what = kind === "passthrough" ? "the TPM of its host" : "a TPM emulator that someone else runs on its host";
    const message = `VM ${vm.name} uses ${what}, whose state can't be taken along.`;
    const remedy = "Power the VM off and give it an emulated TPM; what the guest sealed with the old one is lost.";
    return [refused("tpm", "unsupported", message, remedy, { device: "tpm" })];
  }
  if (target.hardware?.tpmSupported !== false && reception?.tpm !== false) return [];
  const message = `Host ${target.name} has no TPM emulator.`;
  return [refused("tpm", "unsupported", message, "Install swtpm and swtpm-tools there.", { device: "tpm" })];
}

/** What no other check explains. A VM that is off does not fail to move, but it would fail to start. */
export function checkDefinition({ target, live, reception }: MigrationFacts): MigrationFinding[] {
  const problem = reception?.definitionProblem;
  if (problem === undefined) return [];
  const message = `libvirt on host ${target.name} refuses the VM's definition: ${problem}`;
  const remedy = "Change what it names, or choose another host.";
  return [live ? refused("definition", "unsupported", message, remedy) : warned("definition", message, remedy)];
}
