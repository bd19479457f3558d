/**
 * The guest's disk as a file, made without mounts or loop devices: an MBR, a FAT partition that boots by BIOS (syslinux)
 * with kernel and initramfs, an ext4 partition for data. Facts: mtools(1) on `file@@offset`, syslinux(1), mke2fs(8) on
 * `-E offset`, sfdisk(8).
 */
import { open, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { run } from "#command.ts";

export interface DiskInput {
  readonly kernelFile: string;
  readonly initramfs: Buffer;
}

const mib = 1024 * 1024;
const sectorBytes = 512;
const bootStartMiB = 1;
const bootSizeMiB = 63;
const dataStartMiB = bootStartMiB + bootSizeMiB;
const dataSizeMiB = 190;
export const virtualSizeBytes = (dataStartMiB + dataSizeMiB + 2) * mib;
/** Boot code only: bytes 440–511 of the first sector are disk signature and partition table. */
const bootCodeBytes = 440;
const mbrFile = "/usr/lib/syslinux/mbr/mbr.bin";

// Both consoles show what happens; the serial one, named last, is /dev/console. The rest saves time under emulation, or
// takes hot-added memory into use at once.
const kernelArguments = [
  "console=tty0",
  "console=ttyS0,115200",
  "quiet",
  "loglevel=3",
  "mitigations=off",
  "no_timer_check",
  "random.trust_cpu=on",
  "memhp_default_state=online",
  "net.ifnames=0",
  "panic=5",
];

/** Writes the compressed qcow2 image to `target`; intermediate files go to `workFolder`. */
export async function buildDisk(
  input: DiskInput,
  workFolder: string,
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const raw = path.join(workFolder, "disk.raw");
  await writeFile(raw, "");
  await truncate(raw, virtualSizeBytes);
  await partition(raw, signal);
  await fillBootPartition(raw, input, workFolder, signal);
  const dataOffset = `offset=${dataStartMiB * mib},root_owner=0:0`;
  const ext4 = ["mke2fs", "-q", "-t", "ext4", "-L", "guest-data", "-m", "0", "-E", dataOffset, raw, `${dataSizeMiB}M`];
  await run(ext4, { signal });
  await run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, target], { signal, timeoutMs: 120_000 });
  await rm(raw);
}

function sectors(sizeMiB: number): number {
  return (sizeMiB * mib) / sectorBytes;
}

async function partition(raw: string, signal: AbortSignal | undefined): Promise<void> {
  const table = [
    "label: dos",
    `start=${sectors(bootStartMiB)}, size=${sectors(bootSizeMiB)}, type=c, bootable`,
    `start=${sectors(dataStartMiB)}, size=${sectors(dataSizeMiB)}, type=83`,
  ];
  await run(["sfdisk", "--quiet", raw], { signal, input: `${table.join("\n")}\n` });
  await using source = await open(mbrFile, "r");
  await using disk = await open(raw, "r+");
  const { buffer } = await source.read(Buffer.alloc(bootCodeBytes), 0, bootCodeBytes, 0);
  await disk.write(buffer, 0, bootCodeBytes, 0);
}

async function fillBootPartition(
  raw: string,
  input: DiskInput,
  workFolder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const initramfsFile = path.join(workFolder, "initrd");
  const configFile = path.join(workFolder, "syslinux.cfg");
  await writeFile(initramfsFile, input.initramfs);
  const boot = ["KERNEL /linux", "INITRD /initrd", `APPEND ${kernelArguments.join(" ")}`];
  await writeFile(configFile, ["DEFAULT guest", "PROMPT 0", "LABEL guest", ...boot, ""].join("\n"));
  const offset = bootStartMiB * mib;
  const image = ["-i", `${raw}@@${offset}`];
  const geometry = ["-T", String(sectors(bootSizeMiB)), "-h", "255", "-s", "63", "-H", String(sectors(bootStartMiB))];
  await run(["mformat", ...image, "-F", "-v", "GUESTBOOT", ...geometry, "::"], { signal });
  await run(["mcopy", ...image, configFile, initramfsFile, "::/"], { signal });
  await run(["mcopy", ...image, input.kernelFile, "::/linux"], { signal });
  await run(["syslinux", "--install", "--offset", String(offset), raw], { signal });
}
