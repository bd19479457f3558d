/**
 * What defaults depend on: what the hosts that the VM can go to have in common. Invariant: a default is never something
 * that one of them lacks.
 */
import type { Host } from "@innkeeper/contract/resource/host.ts";

export interface HostFacts {
  readonly architecture: string;
  /** At least one runs guests under KVM, and the VM will go to such a one. */
  readonly kvm: boolean;
  readonly q35: boolean;
  readonly tpm: boolean;
  readonly spice: boolean;
  readonly qxl: boolean;
  readonly virtioGpu: boolean;
  readonly bochs: boolean;
}

/** Hosts with KVM are preferred: a VM is placed on the others only if there are none. */
export function hostFacts(hosts: readonly Host[]): HostFacts {
  const known = hosts.filter((host) => host.hardware !== undefined);
  const withKvm = known.filter(({ hardware }) => hardware?.kvm.usable === true);
  const kvm = withKvm.length > 0;
  const candidates = (kvm ? withKvm : known).flatMap(({ hardware }) => hardware ?? []);
  const all = (has: (hardware: NonNullable<Host["hardware"]>) => boolean): boolean => candidates.every(has);
  return {
    architecture: candidates[0]?.architecture ?? "x86_64",
    kvm,
    q35: all(({ machineTypes }) => machineTypes.length === 0 || machineTypes.some((machine) => /q35/.test(machine))),
    tpm: all(({ tpmSupported }) => tpmSupported),
    spice: all(({ graphicsTypes }) => graphicsTypes?.includes("spice") ?? false),
    qxl: all(({ videoModels }) => videoModels?.includes("qxl") ?? false),
    virtioGpu: all(({ videoModels }) => videoModels?.includes("virtio") ?? true),
    bochs: all(({ videoModels }) => videoModels?.includes("bochs") ?? false),
  };
}
