/**
 * The guest's disk as a file, made without mounts or loop devices: an MBR, a FAT partition with kernel and initramfs that
 * boots by BIOS (syslinux) and by UEFI, with Secure Boot too (Debian's signed shim, GRUB and kernel), an ext4 partition
 * for data. Facts: mtools(1) on `file@@offset`, syslinux(1), mke2fs(8) on
 * `-E offset`, sfdisk(8).
 */
import { open, rm, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { run } from "#command.ts";

interface DiskInput {
  readonly kernelFile: string;
  /** Signed by Microsoft, and starts what Debian signed. */
  readonly shimFile: string;
  readonly grubFile: string;
  readonly initramfs: Buffer;
}

const mib = 1024 * 1024;
const sectorBytes = 512;
const bootLabel = "GUESTBOOT";
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
  const grubConfigFile = path.join(workFolder, "grub.cfg");
  const grubBoot = [`linux /linux ${kernelArguments.join(" ")}`, "initrd /initrd", "boot", ""];
  await writeFile(grubConfigFile, ["set timeout=0", `search --label ${bootLabel} --set=root`, ...grubBoot].join("\n"));
  const offset = bootStartMiB * mib;
  const image = ["-i", `${raw}@@${offset}`];
  const geometry = ["-T", String(sectors(bootSizeMiB)), "-h", "255", "-s", "63", "-H", String(sectors(bootStartMiB))];
  await run(["mformat", ...image, "-F", "-v", bootLabel, ...geometry, "::"], { signal });
  await run(["mcopy", ...image, configFile, initramfsFile, "::/"], { signal });
  await run(["mcopy", ...image, input.kernelFile, "::/linux"], { signal });
  // UEFI 2.10 §3.5.1.1: what firmware starts from a disk without a boot entry. shim starts grubx64.efi beside it, which
  // reads /EFI/debian/grub.cfg, the place that Debian built into it.
  await run(["mmd", ...image, "::/EFI", "::/EFI/BOOT", "::/EFI/debian"], { signal });
  await run(["mcopy", ...image, input.shimFile, "::/EFI/BOOT/BOOTX64.EFI"], { signal });
  await run(["mcopy", ...image, input.grubFile, "::/EFI/BOOT/grubx64.efi"], { signal });
  await run(["mcopy", ...image, grubConfigFile, "::/EFI/debian/grub.cfg"], { signal });
  await run(["syslinux", "--install", "--offset", String(offset), raw], { signal });
}
