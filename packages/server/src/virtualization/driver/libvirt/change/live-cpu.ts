/**
 * CPU changes of a running guest: vCPUs within the maximum, pinning, weight and limit. A weight that is taken away has no
 * live form: cgroups begin with 1024 (v1) or 100 (v2), and libvirt does not say which; it stays until the next start.
 */
import { VIR_DOMAIN_AFFECT_LIVE } from "@innkeeper/libvirt";
import { isLibvirtCode } from "#libvirt/error.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { schedulerPeriodUs } from "../domain-xml/cpu.ts";
import { cpuMap, parseCpuSet } from "../domain-xml/cpu-set.ts";
import { hostCpuCount } from "../guest.ts";
import { canWait, type LiveGuest, type LiveStep } from "./live-step.ts";

/** libvirt 9.0 remote_protocol.x REMOTE_DOMAIN_SCHEDULER_PARAMETERS_MAX. */
const schedulerParameterMax = 16;

export async function cpuSteps(guest: LiveGuest, cpu: NonNullable<GuestChange["cpu"]>): Promise<LiveStep[]> {
  return [...countSteps(guest, cpu.count), ...(await pinSteps(guest, cpu)), ...(await schedulerSteps(guest, cpu))];
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
  const map = (set: string | null | undefined): Uint8Array =>
    cpuMap(typeof set === "string" ? (parseCpuSet(set) ?? all) : all, cpuCount);
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
    const pin = (set: string | null | undefined) =>
      remote.domainPinEmulator({ dom, cpumap: map(set), flags: VIR_DOMAIN_AFFECT_LIVE }, options);
    const undo = () => pin(spec.cpu.emulatorPinning);
    steps.push({ what: "pinning of the emulator", run: () => pin(emulatorPinning), undo });
  }
  return steps;
}

/** The weight that is put back is what the host says it was: of a guest without a setting no XML shows it. */
async function schedulerSteps(guest: LiveGuest, cpu: NonNullable<GuestChange["cpu"]>): Promise<LiveStep[]> {
  const { remote, dom, options, spec } = guest;
  const { limitPct } = cpu;
  const shares = cpu.shares ?? undefined;
  if (shares === undefined && limitPct === undefined) return [];
  const set = (weight: number | undefined, limit: number | undefined) =>
    remote.domainSetSchedulerParametersFlags(
      { dom, params: schedulerParameters(weight, limit), flags: VIR_DOMAIN_AFFECT_LIVE },
      options,
    );
  const sharesBefore = shares === undefined ? undefined : await presentShares(guest);
  return [
    {
      what: "CPU shares and limit",
      run: () => set(shares, limitPct),
      undo: () => set(sharesBefore, limitPct === undefined ? undefined : (spec.cpu.limitPct ?? 0)),
    },
  ];
}

/** undefined on a host without CPU cgroups, where none can be set either. */
async function presentShares({ remote, dom, options, spec }: LiveGuest): Promise<number | undefined> {
  const flags = VIR_DOMAIN_AFFECT_LIVE;
  const parameters = await remote
    .domainGetSchedulerParametersFlags({ dom, nparams: schedulerParameterMax, flags }, options)
    .catch((error: unknown) => {
      if (!canWait(error) && !isLibvirtCode(error, "VIR_ERR_OPERATION_INVALID")) throw error;
    });
  const shares = parameters?.params["cpu_shares"];
  return shares === undefined ? spec.cpu.shares : Number(shares);
}

/** A negative quota is none (libvirt docs "CPU Tuning", global_quota). */
function schedulerParameters(shares: number | undefined, limitPct: number | undefined) {
  const quota = limitPct === 0 ? -1 : Math.round(((limitPct ?? 0) * schedulerPeriodUs) / 100);
  return {
    ...(shares !== undefined && { cpu_shares: BigInt(shares) }),
    ...(limitPct !== undefined && { global_period: BigInt(schedulerPeriodUs), global_quota: BigInt(quota) }),
  };
}
