/**
 * Which fields of a VM the next start will change: the running guest's spec against the persistent one, as dotted paths.
 * Disks are named by target, NICs by MAC: `disks.vda.cache`, `nics.52:54:00:12:34:56.linkUp`; one that only one side has
 * is named alone (`disks.vdb`). What only a running guest has is no difference.
 */
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";

/**
 * Left out: the balloon's present size (it follows the guest), a tap device's name, the layers below a disk, and fields
 * that libvirt resolves at start (a CPU mode into a model).
 */
const runtimeFields: readonly string[] = ["memory.balloonMiB", "autostart", "domainType", "architecture"];
const runtimeDeviceFields: readonly string[] = ["hostDevice", "backingChain"];
const resolvedModels: readonly (string | undefined)[] = ["host-model", "host-passthrough", "maximum", undefined];

export function pendingChanges(live: VmSpec, persistent: VmSpec): string[] {
  const paths = new Set<string>();
  const { disks, nics, cpu, memory, ...hardware } = live;
  const next = persistent;
  const ignoreModel = resolvedModels.includes(next.cpu.model);
  compare("cpu", { ...cpu, ...(ignoreModel && { model: next.cpu.model }) }, next.cpu, paths);
  compare("memory", memory, next.memory, paths);
  compareDevices("disks", keyed(disks, "target"), keyed(next.disks, "target"), paths);
  compareDevices("nics", keyed(nics, "mac"), keyed(next.nics, "mac"), paths);
  const { disks: _disks, nics: _nics, cpu: _cpu, memory: _memory, ...nextHardware } = next;
  compare("", hardware, nextHardware, paths);
  return [...paths].filter((path) => !runtimeFields.includes(path)).sort();
}

function keyed<T extends object, K extends keyof T>(items: readonly T[], key: K): Map<string, T> {
  return new Map(items.map((item) => [String(item[key]), item]));
}

function compareDevices(
  prefix: string,
  live: ReadonlyMap<string, object>,
  next: ReadonlyMap<string, object>,
  paths: Set<string>,
): void {
  for (const key of new Set([...live.keys(), ...next.keys()])) {
    const before = live.get(key);
    const after = next.get(key);
    if (before === undefined || after === undefined) paths.add(`${prefix}.${key}`);
    else compare(`${prefix}.${key}`, withoutRuntime(before), withoutRuntime(after), paths);
  }
}

function withoutRuntime(device: object): object {
  return Object.fromEntries(Object.entries(device).filter(([name]) => !runtimeDeviceFields.includes(name)));
}

function compare(prefix: string, live: object, next: object, paths: Set<string>): void {
  const before = new Map<string, unknown>(Object.entries(live));
  const after = new Map<string, unknown>(Object.entries(next));
  for (const name of new Set([...before.keys(), ...after.keys()])) {
    if (JSON.stringify(before.get(name)) === JSON.stringify(after.get(name))) continue;
    paths.add(prefix === "" ? name : `${prefix}.${name}`);
  }
}
