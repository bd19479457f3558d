/** CPU changes of a running guest: vCPUs within the maximum, pinning, weight and limit. */
import { VIR_DOMAIN_AFFECT_LIVE } from "@innkeeper/libvirt";
import { isLibvirtCode } from "#libvirt/error.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { schedulerPeriodUs } from "../domain-xml/cpu.ts";
import { cpuMap, parseCpuSet } from "../domain-xml/cpu-set.ts";
import { hostCpuCount } from "../guest.ts";
import type { LiveGuest, LiveStep } from "./live-step.ts";

/** libvirt's default weight (Linux Documentation/scheduler/sched-design-CFS.rst cpu.shares). */
const normalShares = 1024;

export async function cpuSteps(guest: LiveGuest, cpu: NonNullable<GuestChange["cpu"]>): Promise<LiveStep[]> {
  return [...countSteps(guest, cpu.count), ...(await pinSteps(guest, cpu)), ...schedulerSteps(guest, cpu)];
}

/**
 * A vCPU goes only if the guest lets it go; one that does not in time goes with the next start. Without KVM none is
 * taken: QEMU 7.2's TCG never finishes that, and ends itself at the next hot-plugged device.
 */
function countSteps({ remote, dom, options, spec }: LiveGuest, count: number | undefined): LiveStep[] {
  const before = spec.cpu.count;
  if (count === undefined || count === before || count > (spec.cpu.maxCount ?? before)) return [];
  const isLess = count < before;
  if (isLess && spec.domainType === "qemu") return [];
  const set = (nvcpus: number) => remote.domainSetVcpusFlags({ dom, nvcpus, flags: VIR_DOMAIN_AFFECT_LIVE }, options);
  const run = async (): Promise<void> => {
    await set(count).catch((error: unknown) => {
      if (!isLess || !isLibvirtCode(error, "VIR_ERR_OPERATION_TIMEOUT")) throw error;
    });
  };
  // What was added can't be taken back where nothing can be taken.
  const undo = isLess || spec.domainType !== "qemu" ? { undo: () => set(before) } : {};
  return [{ what: `${count} vCPUs`, run, ...undo }];
}

async function pinSteps(guest: LiveGuest, cpu: NonNullable<GuestChange["cpu"]>): Promise<LiveStep[]> {
  if (cpu.pinning === undefined && cpu.emulatorPinning === undefined) return [];
  const { remote, dom, options, spec } = guest;
  const cpuCount = await hostCpuCount(remote, options);
  const all = Array.from({ length: cpuCount }, (_unused, index) => index);
  const map = (set: string | undefined): Uint8Array =>
    cpuMap(set === undefined ? all : (parseCpuSet(set) ?? all), cpuCount);
  const steps: LiveStep[] = [];
  if (cpu.pinning !== undefined) {
    const before = new Map((spec.cpu.pinning ?? []).map((pin) => [pin.vcpu, pin.hostCpus]));
    const after = new Map(cpu.pinning.map((pin) => [pin.vcpu, pin.hostCpus]));
    const maxCount = spec.cpu.maxCount ?? spec.cpu.count;
    for (const vcpu of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(vcpu) === after.get(vcpu) || vcpu >= maxCount) continue;
      const pin = (set: string | undefined) =>
        remote.domainPinVcpuFlags({ dom, vcpu, cpumap: map(set), flags: VIR_DOMAIN_AFFECT_LIVE }, options);
      const what = `pinning of vCPU ${vcpu}`;
      steps.push({ what, run: () => pin(after.get(vcpu)), undo: () => pin(before.get(vcpu)) });
    }
  }
  const { emulatorPinning } = cpu;
  if (emulatorPinning !== undefined) {
    const pin = (set: string | undefined) =>
      remote.domainPinEmulator({ dom, cpumap: map(set), flags: VIR_DOMAIN_AFFECT_LIVE }, options);
    const undo = () => pin(spec.cpu.emulatorPinning);
    steps.push({ what: "pinning of the emulator", run: () => pin(emulatorPinning), undo });
  }
  return steps;
}

function schedulerSteps(guest: LiveGuest, cpu: NonNullable<GuestChange["cpu"]>): LiveStep[] {
  const { remote, dom, options, spec } = guest;
  if (cpu.shares === undefined && cpu.limitPct === undefined) return [];
  const set = (shares: number | undefined, limitPct: number | undefined) =>
    remote.domainSetSchedulerParametersFlags(
      { dom, params: schedulerParameters(shares, limitPct), flags: VIR_DOMAIN_AFFECT_LIVE },
      options,
    );
  return [
    {
      what: "CPU shares and limit",
      run: () => set(cpu.shares, cpu.limitPct),
      undo: () =>
        set(
          cpu.shares === undefined ? undefined : (spec.cpu.shares ?? normalShares),
          cpu.limitPct === undefined ? undefined : (spec.cpu.limitPct ?? 0),
        ),
    },
  ];
}

/** A negative quota is none (libvirt docs "CPU Tuning", global_quota). */
function schedulerParameters(shares: number | undefined, limitPct: number | undefined) {
  const quota = limitPct === 0 ? -1 : Math.round(((limitPct ?? 0) * schedulerPeriodUs) / 100);
  return {
    ...(shares !== undefined && { cpu_shares: BigInt(shares) }),
    ...(limitPct !== undefined && { global_period: BigInt(schedulerPeriodUs), global_quota: BigInt(quota) }),
  };
}
