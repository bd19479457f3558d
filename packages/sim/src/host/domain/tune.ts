// A domain's memory, vCPUs, I/O threads and limits, live and in the definition (libvirt 9.0 src/qemu/qemu_driver.c).
import {
  VIR_ERR_CONFIG_UNSUPPORTED,
  VIR_ERR_INVALID_ARG,
  VIR_ERR_OPERATION_INVALID,
  VIR_FROM_DOMAIN,
  VIR_FROM_QEMU,
} from "@innkeeper/libvirt/generated/virterror-constant.ts";
import { VIR_DOMAIN_VCPU_MAXIMUM } from "@innkeeper/libvirt/generated/domain-constant.ts";
import type { TypedParameters } from "@innkeeper/libvirt/codec/typed-parameter.ts";
import { SimError } from "#error.ts";
import { attributeOf, element, elements, find, leaf, replaceChild, textOf } from "#xml/element.ts";
import { editBy, impactOf } from "./impact.ts";
import { orderDomain } from "./order.ts";
import type { Domains } from "./domains.ts";
import type { Element } from "#xml/element.ts";
import type { SimDomain } from "./sim-domain.ts";

function invalid(detail: string): SimError {
  return new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, detail);
}

export function setMemory(domains: Domains, domain: SimDomain, kib: number, flags: number, isMaximum: boolean): void {
  const impact = impactOf(domain, flags);
  if (isMaximum) {
    if (impact.live)
      throw new SimError(
        VIR_ERR_OPERATION_INVALID,
        VIR_FROM_QEMU,
        "cannot resize the maximum memory on an active domain",
      );
    domain.editConfig((root) => {
      replaceChild(root, "memory", leaf("memory", kib, { unit: "KiB" }));
      const current = Number(textOf(root, "currentMemory") ?? 0);
      if (current > kib) replaceChild(root, "currentMemory", leaf("currentMemory", kib, { unit: "KiB" }));
    });
    return;
  }
  const set = (root: Element): void => {
    if (kib > Number(textOf(root, "memory") ?? 0)) throw invalid("cannot set memory higher than max memory");
    replaceChild(root, "currentMemory", leaf("currentMemory", kib, { unit: "KiB" }));
  };
  if (impact.live && !domain.facts.hasBalloon)
    throw new SimError(
      VIR_ERR_OPERATION_INVALID,
      VIR_FROM_QEMU,
      "Unable to change memory of active domain without the balloon device and guest OS balloon driver",
    );
  editBy(domain, flags, set);
  if (!impact.live) return;
  domain.requireActive().balloonKiB = kib;
  domains.context.events.domain("balloonChange", { dom: domain.ref, actual: BigInt(kib) });
}

export function setVcpus(domain: SimDomain, count: number, flags: number): void {
  const impact = impactOf(domain, flags);
  const isMaximum = (flags & VIR_DOMAIN_VCPU_MAXIMUM) !== 0;
  if (isMaximum && impact.live) throw invalid("maximum vcpu count of a live domain can't be modified");
  const { maxVcpus, vcpus, domainType } = domain.facts;
  if (impact.live && count > maxVcpus)
    throw invalid(`requested vcpus is greater than max allowable vcpus for the live domain: ${count} > ${maxVcpus}`);
  // QEMU can take back what was added by plugging; those of the start stay.
  if (impact.live && count < vcpus && domainType === "qemu")
    throw new SimError(
      VIR_ERR_CONFIG_UNSUPPORTED,
      VIR_FROM_QEMU,
      "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count",
    );
  editBy(domain, flags, (root) => {
    const vcpu = find(root, "vcpu");
    const maximum = Number(textOf(vcpu) ?? 1);
    if (!isMaximum && count > maximum)
      throw invalid(
        `requested vcpus is greater than max allowable vcpus for the persistent domain: ${count} > ${maximum}`,
      );
    const total = isMaximum ? count : maximum;
    const current = isMaximum ? Math.min(count, Number(vcpu?.attributes.get("current") ?? maximum)) : count;
    const kept = Object.fromEntries([...(vcpu?.attributes ?? [])].filter(([key]) => key !== "current"));
    const attributes = { ...kept, ...(current === total ? {} : { current }) };
    replaceChild(root, "vcpu", element("vcpu", attributes, [String(total)]));
  });
}

/** "0-2,5" of a bitmap, as libvirt writes it. */
export function cpuSetText(map: Uint8Array, cpuCount: number): string {
  const set = Array.from({ length: cpuCount }, (_each, cpu) => cpu).filter(
    (cpu) => ((map[cpu >> 3] ?? 0) & (1 << (cpu & 7))) !== 0,
  );
  const ranges: [number, number][] = [];
  for (const cpu of set) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === cpu - 1) last[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
}

export function cpuSetMap(text: string | undefined, cpuCount: number): Uint8Array {
  const map = new Uint8Array(Math.ceil(cpuCount / 8));
  for (const part of (text ?? `0-${cpuCount - 1}`).split(",")) {
    const [from = 0, to = from] = part.split("-").map(Number);
    for (let cpu = from; cpu <= to && cpu < cpuCount; cpu += 1) map[cpu >> 3] = (map[cpu >> 3] ?? 0) | (1 << (cpu & 7));
  }
  return map;
}

/** @param vcpu undefined: the emulator's own threads. */
export function pin(
  domain: SimDomain,
  vcpu: number | undefined,
  map: Uint8Array,
  cpuCount: number,
  flags: number,
): void {
  const cpuset = cpuSetText(map, cpuCount);
  if (cpuset === "") throw invalid("Empty cpu list for pinning");
  if (vcpu !== undefined && vcpu >= domain.facts.maxVcpus)
    throw invalid(`vcpu ${vcpu} is out of range of persistent cpu count ${domain.facts.maxVcpus}`);
  const name = vcpu === undefined ? "emulatorpin" : "vcpupin";
  editBy(domain, flags, (root) => {
    const tune = tuneOf(root, "cputune");
    const isOther = (each: Element): boolean =>
      each.name !== name || (vcpu !== undefined && each.attributes.get("vcpu") !== String(vcpu));
    const kept = elements(tune).filter(isOther);
    tune.children.splice(0, tune.children.length, ...kept, element(name, { vcpu, cpuset }));
    tune.children.sort((left, right) => rank(left as Element) - rank(right as Element));
  });
}

const TUNE_ORDER = [
  "shares",
  "period",
  "quota",
  "global_period",
  "global_quota",
  "emulator_period",
  "emulator_quota",
  "iothread_period",
  "iothread_quota",
  "vcpupin",
  "emulatorpin",
];

function tuneOf(root: Element, name: string): Element {
  const present = find(root, name);
  if (present !== undefined) return present;
  const added = element(name);
  root.children.push(added);
  orderDomain(root);
  return added;
}

const SCHEDULER: Readonly<Record<string, string>> = {
  cpu_shares: "shares",
  vcpu_period: "period",
  vcpu_quota: "quota",
  global_period: "global_period",
  global_quota: "global_quota",
  emulator_period: "emulator_period",
  emulator_quota: "emulator_quota",
};

export function setScheduler(domain: SimDomain, params: TypedParameters, flags: number): void {
  editBy(domain, flags, (root) => setLeaves(tuneOf(root, "cputune"), SCHEDULER, params));
}

export function getScheduler(root: Element): Record<string, bigint> {
  const tune = find(root, "cputune");
  const value = (name: string, none: bigint): bigint => BigInt(textOf(tune, name) ?? none);
  return {
    cpu_shares: value("shares", 1024n),
    vcpu_period: value("period", 100_000n),
    vcpu_quota: value("quota", 17_592_186_044_415n),
    emulator_period: value("emulator_period", 100_000n),
    emulator_quota: value("emulator_quota", 17_592_186_044_415n),
    global_period: value("global_period", 100_000n),
    global_quota: value("global_quota", 17_592_186_044_415n),
  };
}

const MEMORY: Readonly<Record<string, string>> = {
  hard_limit: "hard_limit",
  soft_limit: "soft_limit",
  swap_hard_limit: "swap_hard_limit",
};

export function setMemoryLimits(domain: SimDomain, params: TypedParameters, flags: number): void {
  editBy(domain, flags, (root) => setLeaves(tuneOf(root, "memtune"), MEMORY, params, { unit: "KiB" }));
}

/** libvirt's word for no limit (VIR_DOMAIN_MEMORY_PARAM_UNLIMITED). */
const UNLIMITED = 9_007_199_254_740_991n;

export function getMemoryLimits(root: Element): Record<string, bigint> {
  const tune = find(root, "memtune");
  return Object.fromEntries(Object.keys(MEMORY).map((name) => [name, BigInt(textOf(tune, name) ?? UNLIMITED)]));
}

function setLeaves(
  tune: Element,
  names: Readonly<Record<string, string>>,
  params: TypedParameters,
  attributes: Readonly<Record<string, string>> = {},
): void {
  for (const [param, value] of Object.entries(params)) {
    const name = names[param];
    if (name === undefined) throw invalid(`parameter '${param}' not supported`);
    const isNone = typeof value === "bigint" && value === UNLIMITED;
    replaceChild(tune, name, isNone ? undefined : leaf(name, String(value), attributes));
  }
}

/** Names of virDomainBlockIoTuneInfo's values, as in XML and as parameters. */
const IO_TUNE = [
  "total_bytes_sec read_bytes_sec write_bytes_sec total_iops_sec read_iops_sec write_iops_sec",
  "total_bytes_sec_max read_bytes_sec_max write_bytes_sec_max",
  "total_iops_sec_max read_iops_sec_max write_iops_sec_max size_iops_sec",
].flatMap((line) => line.split(" "));
const IO_LENGTHS = [
  "total_bytes_sec_max_length read_bytes_sec_max_length write_bytes_sec_max_length",
  "total_iops_sec_max_length read_iops_sec_max_length write_iops_sec_max_length",
].flatMap((line) => line.split(" "));

function diskOf(root: Element, name: string): Element {
  const disk = elements(find(root, "devices"), "disk").find(
    (each) =>
      attributeOf(each, "target", "dev") === name ||
      attributeOf(each, "source", "file") === name ||
      attributeOf(each, "source", "dev") === name,
  );
  if (disk === undefined) throw invalid(`disk '${name}' not found in domain`);
  return disk;
}

export function setBlockIoTune(domain: SimDomain, target: string, params: TypedParameters, flags: number): void {
  editBy(domain, flags, (root) => {
    const disk = diskOf(root, target);
    const tune = find(disk, "iotune") ?? element("iotune");
    for (const [name, value] of Object.entries(params)) {
      if (![...IO_TUNE, ...IO_LENGTHS, "group_name"].includes(name)) throw invalid(`parameter '${name}' not supported`);
      replaceChild(tune, name, value === 0n || value === "" ? undefined : leaf(name, String(value)));
    }
    const isEmpty = tune.children.length === 0;
    replaceChild(disk, "iotune", isEmpty ? undefined : tune);
    orderDomain(root);
  });
}

/** Without a disk: which values there are. */
export function getBlockIoTune(root: Element, target?: string): Record<string, bigint | string> {
  const tune = target === undefined ? undefined : find(diskOf(root, target), "iotune");
  const group = textOf(tune, "group_name");
  const value = (name: string): [string, bigint] => [name, BigInt(textOf(tune, name) ?? 0)];
  return {
    ...Object.fromEntries(IO_TUNE.map(value)),
    ...(target === undefined || group !== undefined ? { group_name: group ?? "" } : {}),
    ...Object.fromEntries(IO_LENGTHS.map(value)),
  };
}

export function ioThreads(root: Element): number[] {
  const ids = elements(find(root, "iothreadids"), "iothread").map((each) => Number(each.attributes.get("id")));
  if (ids.length > 0) return ids;
  return Array.from({ length: Number(textOf(root, "iothreads") ?? 0) }, (_each, index) => index + 1);
}

/** virDomainDriverAddIOThreadCheck, virDomainDriverDelIOThreadCheck: src/hypervisor/domain_driver.c */
function refusedThread(detail: string): SimError {
  return new SimError(VIR_ERR_INVALID_ARG, VIR_FROM_DOMAIN, detail);
}

export function changeIoThreads(domain: SimDomain, id: number, isAdded: boolean, flags: number): void {
  if (id === 0) throw invalid("invalid value of 0 for iothread_id");
  editBy(domain, flags, (root) => {
    const present = ioThreads(root);
    if (isAdded && present.includes(id)) throw refusedThread(`an IOThread is already using iothread_id '${id}'`);
    if (!isAdded && !present.includes(id)) throw refusedThread(`cannot find IOThread '${id}' in iothreadids list`);
    const ids = isAdded ? [...present, id] : present.filter((each) => each !== id);
    replaceChild(root, "iothreads", ids.length === 0 ? undefined : leaf("iothreads", ids.length));
    const list = element(
      "iothreadids",
      {},
      ids.map((each) => element("iothread", { id: each })),
    );
    replaceChild(root, "iothreadids", ids.length === 0 ? undefined : list);
    orderDomain(root);
  });
}

function rank(each: Element): number {
  return TUNE_ORDER.indexOf(each.name) * 10_000 + Number(each.attributes.get("vcpu") ?? 0);
}
