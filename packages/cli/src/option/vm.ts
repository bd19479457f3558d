/** Options of `inn vm create` and `inn vm set` that describe hardware, and what they become in a request. */
import type { Command } from "commander";
import type { VmCreate, VmChange } from "@innkeeper/contract/resource/vm.ts";
import type { VmSpec } from "@innkeeper/contract/resource/vm-spec.ts";
import { usageError, valueError } from "#cli-error.ts";
import { type Options, sizeMiBOf } from "#invocation.ts";
import { anyGiven, anyOf, given } from "#option/given.ts";
import { Pairs } from "#option/pairs.ts";
import { collect } from "#verb.ts";

type Cpu = Partial<VmSpec["cpu"]>;
type Memory = NonNullable<VmChange["memory"]>;
type Hardware = Pick<
  VmCreate,
  | "machine"
  | "firmware"
  | "tpm"
  | "graphics"
  | "video"
  | "serial"
  | "guestAgent"
  | "balloon"
  | "ioThreads"
  | "autostart"
>;

// The allowed words of contract/resource/vm-spec.ts; a test compares them with its schema.
export const hardwareWords = {
  graphics: ["none", "vnc", "spice"],
  video: ["none", "virtio", "vga", "qxl", "bochs"],
} as const;

export function hardwareOptions(command: Command): Command {
  return command
    .option("--vcpus <n>", "vCPUs")
    .option("--vcpus-max <n>", "up to which vCPUs can be added while it runs")
    .option("--topology <s,c,t>", "sockets=2,cores=4,threads=1")
    .option("--cpu <model>", "host-model, host-passthrough, maximum, or a model's name")
    .option("--pin <vcpu=cpus>", "pin a vCPU to CPUs of the host: 0=1-2; may be repeated", collect)
    .option("--emulator-pin <cpus>", "pin QEMU's own threads")
    .option("--cpu-shares <n>", "weight against other VMs; normal is 1024 (cgroup v1) or 100 (v2)")
    .option("--cpu-limit <percent>", "most CPU time, in percent of one host CPU")
    .option("-m, --memory <size>", "memory: 4G, 512M; a bare number is MiB")
    .option("--balloon <size>", "what the guest has of it now (balloon)")
    .option("--hugepages <size>", "back it with huge pages: 2M, 1G")
    .option("--memory-reserve <size>", "host memory guaranteed to it")
    .option("--memory-limit <size>", "most host memory that it may take")
    .option("--memory-shares <n>", "weight against other VMs")
    .option("--lock-memory", "never swapped by the host")
    .option("--no-lock-memory")
    .option("--numa-cell <cell>", "guest NUMA cell: cpus=0-1,memory=2G[,nodes=0]; may be repeated", collect)
    .option("--machine <type>", "machine type (default: q35)")
    .option("--bios", "BIOS firmware")
    .option("--uefi", "UEFI firmware")
    .option("--secure-boot", "UEFI with Secure Boot")
    .option("--tpm", "an emulated TPM 2.0")
    .option("--no-tpm")
    .option("--graphics <kind>", hardwareWords.graphics.join(", "))
    .option("--video <model>", hardwareWords.video.join(", "))
    .option("--serial", "a serial console")
    .option("--no-serial")
    .option("--guest-agent", "the channel for qemu-guest-agent")
    .option("--no-guest-agent")
    .option("--balloon-device", "a memory balloon")
    .option("--no-balloon-device")
    .option("--iothreads <n>", "threads for disk I/O")
    .option("--autostart", "starts with its host")
    .option("--no-autostart");
}

export function cpuOf(options: Options): Cpu | undefined {
  return anyGiven({
    count: options.integer("vcpus"),
    maxCount: options.integer("vcpusMax"),
    topology: topologyOf(options.text("topology")),
    model: options.text("cpu"),
    pinning: anyOf(options.texts("pin").map(pinOf)),
    emulatorPinning: options.text("emulatorPin"),
    shares: options.integer("cpuShares"),
    limitPct: options.integer("cpuLimit"),
  });
}

/** What is set, and what is taken away: `--unpin`, `--normal-cpu-shares`. */
export function cpuChangeOf(options: Options): VmChange["cpu"] {
  return anyGiven({
    ...(options.flag("unpin") === true ? { pinning: [], emulatorPinning: null } : {}),
    ...(options.flag("normalCpuShares") === true ? { shares: null } : {}),
    ...cpuOf(options),
  });
}

function topologyOf(text: string | undefined): Cpu["topology"] {
  if (text === undefined) return undefined;
  const pairs = new Pairs("--topology", text, ["sockets", "cores", "threads"], "sockets");
  return {
    sockets: pairs.integer("sockets") ?? 1,
    cores: pairs.integer("cores") ?? 1,
    threads: pairs.integer("threads") ?? 1,
  };
}

/** `0=1-2` as `virsh vcpupin` has it. */
export function pinOf(text: string): { vcpu: number; hostCpus: string } {
  const match = /^(\d+)[=:]([0-9,^-]+)$/.exec(text.trim());
  if (match === null)
    throw valueError("--pin", `"${text}" pins nothing`, "Write it like 0=1-2: vCPU 0 to the host's CPUs 1 and 2.");
  return { vcpu: Number(match[1]), hostCpus: match[2] ?? "" };
}

export function memoryOf(options: Options): Memory | undefined {
  const hugepages = options.text("hugepages");
  return anyGiven({
    sizeMiB: options.sizeMiB("memory"),
    balloonMiB: options.sizeMiB("balloon"),
    hugepageKiB: hugepages === undefined ? undefined : sizeMiBOf(hugepages, "--hugepages") * 1024,
    reservationMiB: options.sizeMiB("memoryReserve"),
    limitMiB: options.sizeMiB("memoryLimit"),
    shares: options.integer("memoryShares"),
    locked: options.flag("lockMemory"),
    numaCells: anyOf(options.texts("numaCell").map(numaCellOf)),
  });
}

function numaCellOf(text: string): NonNullable<Memory["numaCells"]>[number] {
  const pairs = new Pairs("--numa-cell", text, ["cpus", "memory", "nodes"], "cpus");
  const cpus = pairs.text("cpus");
  const memory = pairs.text("memory");
  if (cpus === undefined || memory === undefined) throw valueError("--numa-cell", "cpus and memory are needed");
  return { cpus, memoryMiB: sizeMiBOf(memory, "--numa-cell"), ...given({ hostNodes: pairs.text("nodes") }) };
}

export function hardwareOf(options: Options): Hardware {
  const firmwares = [
    options.flag("bios") === true ? ("bios" as const) : undefined,
    options.flag("uefi") === true ? ("uefi" as const) : undefined,
    options.flag("secureBoot") === true ? ("uefi-secure" as const) : undefined,
  ].filter((firmware) => firmware !== undefined);
  // Secure Boot is UEFI: `--uefi --secure-boot` is no contradiction.
  const firmware = firmwares.includes("uefi-secure") ? "uefi-secure" : firmwares[0];
  if (firmwares.includes("bios") && firmwares.length > 1)
    throw usageError("--bios contradicts --uefi and --secure-boot");
  return given({
    machine: options.text("machine"),
    firmware,
    tpm: options.flag("tpm"),
    graphics: wordOf(options, "graphics", hardwareWords.graphics),
    video: wordOf(options, "video", hardwareWords.video),
    serial: options.flag("serial"),
    guestAgent: options.flag("guestAgent"),
    balloon: options.flag("balloonDevice"),
    ioThreads: options.integer("iothreads"),
    autostart: options.flag("autostart"),
  });
}

function wordOf<const T extends readonly string[]>(options: Options, name: string, allowed: T): T[number] | undefined {
  const text = options.text(name);
  if (text === undefined || allowed.includes(text)) return text;
  throw valueError(`--${name}`, `"${text}" is none of ${allowed.join(", ")}`);
}

const optionOfField: Readonly<Record<string, string>> = {
  name: "<name>",
  "cpu.count": "--vcpus",
  "cpu.maxCount": "--vcpus-max",
  "cpu.topology": "--topology",
  "cpu.model": "--cpu",
  "cpu.pinning": "--pin",
  "cpu.emulatorPinning": "--emulator-pin",
  "cpu.shares": "--cpu-shares",
  "cpu.limitPct": "--cpu-limit",
  "memory.sizeMiB": "--memory",
  "memory.balloonMiB": "--balloon",
  "memory.hugepageKiB": "--hugepages",
  "memory.reservationMiB": "--memory-reserve",
  "memory.limitMiB": "--memory-limit",
  "memory.shares": "--memory-shares",
  "memory.locked": "--lock-memory",
  "memory.numaCells": "--numa-cell",
  disks: "--disk",
  disksAdd: "--add-disk",
  disksRemove: "--remove-disk",
  disksChange: "--change-disk",
  nics: "--network",
  nicsAdd: "--add-nic",
  nicsRemove: "--remove-nic",
  nicsChange: "--change-nic",
  guestAgent: "--guest-agent",
  ioThreads: "--iothreads",
  tags: "--tag",
  firmware: "--uefi",
};

/** The option that stands for a field: `disks.0.image` is the first --disk's image. */
export function vmFieldOption(field: string): string {
  const path = field.replace(/^request\./, "").replaceAll(/\[(\d+)\]/g, ".$1");
  for (let prefix = path; prefix !== ""; prefix = prefix.slice(0, Math.max(0, prefix.lastIndexOf(".")))) {
    const option = optionOfField[prefix];
    if (option !== undefined) return prefix === path ? option : `${option} (${field})`;
  }
  return `--${path}`;
}
