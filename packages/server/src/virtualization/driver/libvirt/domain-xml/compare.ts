/**
 * Which fields of a VM the next start will change: the running guest's spec against the persistent one, as dotted paths.
 * Disks are named by target, NICs by MAC: `disks.vda.cache`, `nics.52:54:00:12:34:56.linkUp`; one that only one side has
 * is named alone (`disks.vdb`). What only a running guest has is no difference.
 */
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { parseCpuSet } from "./cpu-set.ts";

/**
 * Left out: the balloon's present size (it follows the guest), a tap device's name, the layers below a disk, and fields
 * that libvirt resolves at start (a CPU mode into a model).
 */
const runtimeFields: readonly string[] = ["memory.balloonMiB", "autostart", "domainType", "architecture"];
const runtimeDeviceFields: readonly string[] = ["hostDevice", "backingChain"];
const resolvedModels: readonly (string | undefined)[] = ["host-model", "host-passthrough", "maximum", undefined];

export function pendingChanges(live: VmSpec, persistent: VmSpec): string[] {
  return differences(withConfiguredModel(live, persistent), persistent).filter((path) => !runtimeFields.includes(path));
}

/** A running guest whose CPU was resolved from a mode (host-model …) has, in the user's words, that mode. */
export function withConfiguredModel(live: VmSpec, persistent: VmSpec): VmSpec {
  const { model } = persistent.cpu;
  if (!resolvedModels.includes(model) || live.cpu.model === model) return live;
  const { model: _resolved, ...cpu } = live.cpu;
  return { ...live, cpu: { ...cpu, ...(model !== undefined && { model }) } };
}

/**
 * Without pins that allow every CPU of the host: a pin that is taken away from a running guest becomes such a one.
 * Pins are not compared with the host's CPUs that are offline.
 */
export function withoutFullPins(spec: VmSpec, hostCpuCount: number): VmSpec {
  const isFull = (set: string): boolean => (parseCpuSet(set)?.length ?? 0) >= hostCpuCount;
  const { pinning, emulatorPinning, ...cpu } = spec.cpu;
  const pins = (pinning ?? []).filter((pin) => !isFull(pin.hostCpus));
  return {
    ...spec,
    cpu: {
      ...cpu,
      ...(pins.length > 0 && { pinning: pins }),
      ...(emulatorPinning !== undefined && !isFull(emulatorPinning) && { emulatorPinning }),
    },
  };
}

/** Every field in which two specs differ, but for what only a running guest has. */
export function differences(before: VmSpec, after: VmSpec): string[] {
  const paths = new Set<string>();
  const { disks, nics, cpu, memory, ...hardware } = before;
  const { disks: nextDisks, nics: nextNics, cpu: nextCpu, memory: nextMemory, ...nextHardware } = after;
  compare("cpu", cpu, nextCpu, paths);
  compare("memory", memory, nextMemory, paths);
  compareDevices("disks", keyed(disks, "target"), keyed(nextDisks, "target"), paths);
  compareDevices("nics", keyed(nics, "mac"), keyed(nextNics, "mac"), paths);
  compare("", hardware, nextHardware, paths);
  return [...paths].sort();
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
