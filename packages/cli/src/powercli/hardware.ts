/** CPUs, memory and disks as PowerCLI's parameters say them, in the API's units. */
import type { VmChange } from "@innkeeper/contract/resource/vm.ts";
import { bytesPerGiB, bytesPerKiB, bytesPerMiB } from "@innkeeper/contract/unit.ts";
import { usageError, valueError } from "#cli-error.ts";
import type { Bound } from "#powercli/bind.ts";
import type { Parameter } from "#powercli/signature.ts";

type Topology = NonNullable<NonNullable<VmChange["cpu"]>["topology"]>;

export const sizeParameters: readonly Parameter[] = [
  { name: "NumCpu", type: "integer", help: "vCPUs" },
  { name: "CoresPerSocket", type: "integer", help: "cores of a virtual socket; NumCpu is a multiple of it" },
  { name: "MemoryGB", type: "decimal", help: "memory in GB, 0.5 is 512 MB" },
  { name: "MemoryMB", type: "decimal", help: "the same in MB" },
];

export const fieldOfSize = {
  "cpu.count": "NumCpu",
  "cpu.topology": "CoresPerSocket",
  "memory.sizeMiB": "MemoryGB",
} as const;

const mibPerGib = bytesPerGiB / bytesPerMiB;

export function memoryMiB(bound: Bound): number | undefined {
  const gb = bound.number("MemoryGB");
  const mb = bound.number("MemoryMB");
  if (gb !== undefined && mb !== undefined) throw usageError("-MemoryGB and -MemoryMB exclude one another");
  if (gb !== undefined) return wholeMiB("-MemoryGB", gb * mibPerGib, gb);
  return mb === undefined ? undefined : wholeMiB("-MemoryMB", mb, mb);
}

function wholeMiB(parameter: string, sizeMiB: number, typed: number): number {
  if (typed <= 0) throw valueError(parameter, `${typed} is no memory`);
  if (!Number.isInteger(sizeMiB)) throw valueError(parameter, `${typed} is not a whole number of MB`);
  return sizeMiB;
}

/** `-DiskGB 20,40` and `-DiskMB`. */
export function diskBytes(bound: Bound): number[] {
  if (bound.has("DiskGB") && bound.has("DiskMB")) throw usageError("-DiskGB and -DiskMB exclude one another");
  return [
    ...bound.numbers("DiskGB").map((size) => wholeBytes("-DiskGB", size, bytesPerGiB)),
    ...bound.numbers("DiskMB").map((size) => wholeBytes("-DiskMB", size, bytesPerMiB)),
  ];
}

/** `-CapacityGB` or `-CapacityKB`. */
export function capacityBytes(bound: Bound): number | undefined {
  const gb = bound.number("CapacityGB");
  const kb = bound.number("CapacityKB");
  if (gb !== undefined && kb !== undefined) throw usageError("-CapacityGB and -CapacityKB exclude one another");
  if (gb !== undefined) return wholeBytes("-CapacityGB", gb, bytesPerGiB);
  return kb === undefined ? undefined : wholeBytes("-CapacityKB", kb, bytesPerKiB);
}

/** In whole sectors, as disks are. */
function wholeBytes(parameter: string, size: number, unit: number): number {
  const bytes = Math.ceil((size * unit) / 512) * 512;
  if (size <= 0) throw valueError(parameter, `${size} is no size of a disk`);
  if (!Number.isSafeInteger(bytes)) throw valueError(parameter, `${size} is more than any disk can have`);
  return bytes;
}

/** The CPUs that are asked for. `now`: what the VM has, whose cores stay as they are. */
export function cpuOf(
  bound: Bound,
  now?: { readonly count: number; readonly topology?: Topology | undefined },
): { count?: number; topology?: Topology } {
  const count = bound.number("NumCpu");
  const cores = bound.number("CoresPerSocket");
  if (count === undefined && cores === undefined) return {};
  if (count !== undefined && count < 1) throw valueError("-NumCpu", `${count} is no number of vCPUs: at least 1`);
  if (cores !== undefined && cores < 1)
    throw valueError("-CoresPerSocket", `${cores} is no number of cores: at least 1`);
  const all = count ?? now?.count ?? 1;
  const before = now?.topology;
  if (cores === undefined && before === undefined) return { count: all };
  const perSocket = cores ?? before?.cores ?? 1;
  const threads = before?.threads ?? 1;
  if (all % (perSocket * threads) !== 0) {
    throw valueError(
      cores === undefined ? "-NumCpu" : "-CoresPerSocket",
      `${all} vCPUs can't be put into sockets of ${perSocket * threads}`,
      "NumCpu is a multiple of CoresPerSocket.",
    );
  }
  return { count: all, topology: { sockets: all / (perSocket * threads), cores: perSocket, threads } };
}
