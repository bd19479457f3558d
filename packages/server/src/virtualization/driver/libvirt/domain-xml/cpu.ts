/**
 * CPUs of a domain: <vcpu>, <vcpus>, <cputune>, <cpu mode model topology>. Facts: libvirt 9.0 docs/formatdomain.rst
 * "CPU Allocation", "CPU Tuning", "CPU model and topology". Features, cache and per-vCPU quotas are not modelled and stay.
 */
import type { Element } from "@xmldom/xmldom";
import type { ReadElement } from "#libvirt/read-xml.ts";
import type { VmCpuChange, VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { AppError } from "#core/app-error.ts";
import {
  add,
  attribute,
  child,
  children,
  ensure,
  remove,
  removeIfEmpty,
  setAttributes,
  text,
  wholeNumber,
} from "./element.ts";
import { setText } from "./element.ts";

export type Cpu = VmSpec["cpu"];

/** Modes of <cpu> that name no model (virCPUMode). */
const modelModes: readonly string[] = ["host-model", "host-passthrough", "maximum"];

/** Default of <global_period>, in microseconds. */
export const schedulerPeriodUs = 100_000;

export function readCpu(root: ReadElement): Cpu {
  const vcpu = child(root, "vcpu");
  const maxCount = wholeNumber(text(vcpu)) ?? 1;
  const tune = child(root, "cputune");
  const pinning = children(tune, "vcpupin").flatMap((pin) => {
    const number = wholeNumber(attribute(pin, "vcpu"));
    const hostCpus = attribute(pin, "cpuset");
    return number === undefined || hostCpus === undefined ? [] : [{ vcpu: number, hostCpus }];
  });
  const shares = wholeNumber(text(child(tune, "shares")));
  const topology = readTopology(root);
  const model = readModel(root);
  const limitPct = readLimitPct(tune);
  const emulatorPinning = attribute(child(tune, "emulatorpin"), "cpuset");
  return {
    count: onlineCount(root, vcpu, maxCount),
    maxCount,
    ...(topology && { topology }),
    ...(model !== undefined && { model }),
    ...(pinning.length > 0 && { pinning }),
    ...(emulatorPinning !== undefined && { emulatorPinning }),
    ...(shares !== undefined && { shares }),
    ...(limitPct !== undefined && { limitPct }),
  };
}

function onlineCount(root: ReadElement, vcpu: ReadElement | undefined, maxCount: number): number {
  const listed = children(child(root, "vcpus"), "vcpu");
  if (listed.length > 0) return listed.filter((each) => attribute(each, "enabled") === "yes").length;
  return wholeNumber(attribute(vcpu, "current")) ?? maxCount;
}

function readTopology(root: ReadElement): Cpu["topology"] {
  const element = child(root, "cpu/topology");
  const [sockets, cores, threads] = ["sockets", "cores", "threads"].map((name) =>
    wholeNumber(attribute(element, name)),
  );
  if (!sockets || !cores || !threads) return undefined;
  return { sockets: sockets * (wholeNumber(attribute(element, "dies")) ?? 1), cores, threads };
}

function readModel(root: ReadElement): string | undefined {
  const cpu = child(root, "cpu");
  const mode = attribute(cpu, "mode");
  return mode !== undefined && modelModes.includes(mode) ? mode : text(child(cpu, "model"));
}

function readLimitPct(tune: ReadElement | undefined): number | undefined {
  const quota = wholeNumber(text(child(tune, "global_quota")));
  const period = wholeNumber(text(child(tune, "global_period"))) ?? schedulerPeriodUs;
  return quota === undefined || period === 0 ? undefined : Math.max(1, Math.round((quota * 100) / period));
}

/** Sets what is given; null, and `limitPct` 0, take away. AppError invalid_field where the numbers contradict each other. */
export function editCpu(root: Element, change: VmCpuChange): void {
  if (change.count !== undefined || change.maxCount !== undefined || change.topology !== undefined) {
    editCount(root, change);
  }
  if (change.model !== undefined) editModel(root, change.model);
  if (change.pinning !== undefined) editPinning(root, change.pinning);
  const tune = ensure(root, "cputune");
  if (change.emulatorPinning === null) remove(child(tune, "emulatorpin"));
  else if (change.emulatorPinning !== undefined) {
    setAttributes(ensure(tune, "emulatorpin"), { cpuset: change.emulatorPinning });
  }
  if (change.shares !== undefined) setText(tune, "shares", change.shares ?? undefined);
  if (change.limitPct !== undefined) editLimit(tune, change.limitPct);
  removeIfEmpty(tune);
}

function editCount(root: Element, change: Pick<VmCpuChange, "count" | "maxCount" | "topology">): void {
  const before = readCpu(root);
  const count = change.count ?? Math.min(before.count, change.maxCount ?? before.count);
  const topology = change.topology;
  const product = topology && topology.sockets * topology.cores * topology.threads;
  const kept = before.maxCount === before.count ? count : (before.maxCount ?? count);
  const maxCount = change.maxCount ?? Math.max(count, product ?? kept);
  if (count > maxCount) {
    const message = `${count} vCPUs are more than the maximum of ${maxCount}.`;
    throw new AppError("invalid_field", message, { field: "cpu.count" });
  }
  if (product !== undefined && product !== maxCount) {
    const sum = `${topology?.sockets} sockets × ${topology?.cores} cores × ${topology?.threads} threads = ${product}`;
    throw new AppError("invalid_field", `${sum}, but the VM has up to ${maxCount} vCPUs.`, { field: "cpu.topology" });
  }
  const vcpu = ensure(root, "vcpu");
  vcpu.textContent = String(maxCount);
  setAttributes(vcpu, { current: count === maxCount ? undefined : count });
  editVcpuList(root, count, maxCount);
  if (topology) {
    setAttributes(ensure(root, "cpu/topology"), { ...topology, dies: 1 });
  } else if (maxCount !== before.maxCount) {
    fitTopology(root, maxCount);
  }
}

/** <vcpus> says of each vCPU whether it is online; it wins over <vcpu current>. */
function editVcpuList(root: Element, count: number, maxCount: number): void {
  const list = child(root, "vcpus");
  const vcpus = children(list, "vcpu");
  if (vcpus.length !== maxCount) return remove(list);
  for (const vcpu of vcpus) {
    const online = (wholeNumber(attribute(vcpu, "id")) ?? 0) < count;
    setAttributes(vcpu, { enabled: online ? "yes" : "no", order: undefined });
    if (!online) setAttributes(vcpu, { hotpluggable: "yes" });
  }
}

/** A topology that nobody named keeps its cores and threads if the new maximum is a multiple, else it goes. */
function fitTopology(root: Element, maxCount: number): void {
  const element = child(root, "cpu/topology");
  const topology = readTopology(root);
  if (element === undefined || topology === undefined) return;
  const perSocket = topology.cores * topology.threads;
  if (maxCount % perSocket === 0) setAttributes(element, { sockets: maxCount / perSocket, dies: 1 });
  else remove(element);
}

function editModel(root: Element, model: string): void {
  const cpu = ensure(root, "cpu");
  if (readModel(root) === model) return;
  remove(child(cpu, "model"));
  remove(child(cpu, "vendor"));
  const custom = !modelModes.includes(model);
  // `check` and `migratable` are left to libvirt's defaults for the mode.
  setAttributes(cpu, {
    mode: custom ? "custom" : model,
    match: custom ? "exact" : undefined,
    check: undefined,
    migratable: undefined,
  });
  if (custom) add(cpu, "model", { fallback: "forbid" }, model);
}

function editPinning(root: Element, pinning: NonNullable<Cpu["pinning"]>): void {
  const tune = ensure(root, "cputune");
  for (const pin of children(tune, "vcpupin")) remove(pin);
  for (const pin of pinning) add(tune, "vcpupin", { vcpu: pin.vcpu, cpuset: pin.hostCpus });
}

function editLimit(tune: Element, limitPct: number): void {
  setText(tune, "global_period", limitPct === 0 ? undefined : schedulerPeriodUs);
  setText(tune, "global_quota", limitPct === 0 ? undefined : Math.round((limitPct * schedulerPeriodUs) / 100));
}
