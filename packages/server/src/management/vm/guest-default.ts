/**
 * What a new VM gets where the request says nothing: what virt-manager and vSphere give a modern guest. The domain type
 * is kvm only where a guest was seen to run under KVM: the device may exist and yet run nothing.
 */
import type { Host, HostHardware } from "@innkeeper/contract/resource/host.ts";
import type { VmCreate } from "@innkeeper/contract/resource/vm.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";

export function domainTypeFor(host: Host): string {
  const types = host.hardware?.domainTypes ?? [];
  if (types.includes("kvm") && host.hardware?.kvm.usable === true) return "kvm";
  return types.includes("qemu") ? "qemu" : (types[0] ?? "qemu");
}

/** The VM's configuration on this host but for disks and network cards, which are made by their own plans. */
export function specFor(host: Host, request: VmCreate): Omit<VmSpec, "disks" | "nics"> {
  const domainType = domainTypeFor(host);
  const machine = request.machine ?? defaultMachine(host.hardware);
  // A document says itself what CPU it wants, by saying nothing, too.
  const fallback = request.domainXml === undefined ? defaultCpuModel(host.hardware, domainType) : undefined;
  const model = request.cpu?.model ?? fallback;
  return {
    domainType,
    architecture: host.hardware?.architecture ?? "x86_64",
    cpu: { ...request.cpu, count: request.cpu?.count ?? 1, ...(model === undefined ? {} : { model }) },
    memory: request.memory,
    ...(machine === undefined ? {} : { machine }),
    firmware: request.firmware ?? defaultFirmware(host.hardware),
    tpm: request.tpm ?? false,
    graphics: request.graphics ?? "vnc",
    video: request.video ?? (request.graphics === "none" ? "none" : "virtio"),
    serial: request.serial ?? true,
    guestAgent: request.guestAgent ?? true,
    balloon: request.balloon ?? true,
    autostart: request.autostart ?? false,
    ...(request.ioThreads === undefined ? {} : { ioThreads: request.ioThreads }),
  };
}

function defaultMachine(hardware: HostHardware | undefined): string | undefined {
  const types = hardware?.machineTypes ?? [];
  return ["q35", "virt"].find((type) => types.includes(type));
}

/** Aarch64's virt machine has no BIOS. */
function defaultFirmware(hardware: HostHardware | undefined): "bios" | "uefi" {
  return hardware !== undefined && !hardware.firmwares.includes("bios") && hardware.firmwares.includes("uefi")
    ? "uefi"
    : "bios";
}

/** host-model: every feature of the host by name, so that libvirt can say where the guest can migrate. Without KVM, QEMU's baseline. */
function defaultCpuModel(hardware: HostHardware | undefined, domainType: string): string | undefined {
  if (domainType === "kvm") return "host-model";
  return domainType === "qemu" && hardware?.cpuModels.includes("qemu64") === true ? "qemu64" : undefined;
}
