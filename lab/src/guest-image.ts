/**
 * The guest of demo and tests: a small bootable disk image, built on this machine from Debian's own packages (kernel,
 * busybox, qemu-guest-agent) and cached. Its console says `INNKEEPER-GUEST READY <uptime>` once it is up and
 * `INNKEEPER-GUEST ADDRESS eth0 <ip>` when it has an address; a root shell is on ttyS0 and tty1, the guest agent on
 * org.qemu.guest_agent.0; /data is an ext4 disk; the power button shuts it down; `counter` counts aloud.
 * It boots by BIOS in 4 s and by UEFI, with Secure Boot too, in 10 s under emulation; UEFI wants 384 MiB of memory.
 * Invariant: the file at the returned path is complete and never changes; its name says what it was made of.
 */
import { hash } from "node:crypto";
import {
  access,
  constants,
  mkdir,
  mkdtempDisposable,
  readdir,
  readFile,
  rename,
  stat,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import { buildDisk, virtualSizeBytes } from "#guest/disk.ts";
import { buildInitramfs } from "#guest/initramfs.ts";
import { guestPackages, unpackPackages } from "#guest/package.ts";
import { machineLock } from "#machine-lock.ts";

interface GuestImageOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (message: string) => void;
  /** $INNKEEPER_CACHE, or /var/cache/innkeeper, unless told. */
  readonly cacheFolder?: string;
}

interface GuestImage {
  /** A qcow2 file, to be copied or used as a backing file; never to be written to. */
  readonly path: string;
  readonly virtualSizeBytes: number;
}

const lockTimeoutMs = 300_000;
const aptListsFolder = "/var/lib/apt/lists";

// Program or file → Debian package that has it.
const neededFiles: Readonly<Record<string, string>> = {
  "/bin/busybox": "busybox-static",
  "/usr/bin/apt-get": "apt",
  "/usr/bin/dpkg-deb": "dpkg",
  "/usr/bin/ldd": "libc-bin",
  "/usr/bin/mcopy": "mtools",
  "/usr/bin/syslinux": "syslinux",
  "/usr/lib/syslinux/mbr/mbr.bin": "syslinux-common",
  "/sbin/sfdisk": "fdisk",
  "/sbin/mke2fs": "e2fsprogs",
  "/usr/bin/qemu-img": "qemu-utils",
  "/usr/bin/xz": "xz-utils",
};

/** Builds the image, or finds it in the cache. Processes that ask at once wait for the one that builds. */
export async function guestImage(options: GuestImageOptions = {}): Promise<GuestImage> {
  const cacheFolder = options.cacheFolder ?? process.env["INNKEEPER_CACHE"] ?? "/var/cache/innkeeper";
  await mkdir(cacheFolder, { recursive: true });
  const recipe = await recipeHash();
  const listsStamp = (await stat(aptListsFolder)).mtimeMs;
  const index = path.join(cacheFolder, `guest-${recipe}.json`);
  const known = await readIndex(index, listsStamp);
  if (known !== undefined) return { path: known, virtualSizeBytes };
  using _lock = await machineLock(`guest-image-${hash("sha256", cacheFolder).slice(0, 16)}`, {
    signal: options.signal,
    timeoutMs: lockTimeoutMs,
  });
  const file = (await readIndex(index, listsStamp)) ?? (await build(cacheFolder, recipe, options));
  await writeFile(`${index}.new`, JSON.stringify({ listsStamp, file }));
  await rename(`${index}.new`, index);
  return { path: file, virtualSizeBytes };
}

/** The index saves asking apt as long as its lists are the same. */
async function readIndex(index: string, listsStamp: number): Promise<string | undefined> {
  const text = await readFile(index, "utf8").catch(() => "{}");
  const { listsStamp: known, file } = JSON.parse(text) as { listsStamp?: number; file?: string };
  if (known !== listsStamp || file === undefined) return undefined;
  return (await exists(file)) ? file : undefined;
}

async function build(cacheFolder: string, recipe: string, options: GuestImageOptions): Promise<string> {
  await checkTools();
  const { signal } = options;
  const packages = await guestPackages(signal);
  const versions = packages.map(({ name, version }) => `${name}=${version}`);
  const file = path.join(cacheFolder, `guest-${hash("sha256", [recipe, ...versions].join("\n")).slice(0, 16)}.qcow2`);
  if (await exists(file)) return file;
  options.onProgress?.(`building the guest image from ${versions.join(", ")}`);
  await using work = await mkdtempDisposable(path.join(cacheFolder, "build-"));
  const packageRoot = await unpackPackages(packages, work.path, signal);
  const initramfs = await buildInitramfs(packageRoot, signal);
  const kernelName = (await readdir(path.join(packageRoot, "boot"))).find((name) => name.startsWith("vmlinuz-"));
  if (kernelName === undefined) throw new Error("the kernel package has no kernel in /boot");
  const finished = path.join(work.path, "guest.qcow2");
  const kernelFile = path.join(packageRoot, "boot", kernelName);
  const shimFile = path.join(packageRoot, "usr/lib/shim/shimx64.efi.signed");
  const grubFile = path.join(packageRoot, "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed");
  await buildDisk({ kernelFile, shimFile, grubFile, initramfs }, work.path, finished, signal);
  await rename(finished, file);
  return file;
}

/** Changes with everything in this package that the image is made by. */
async function recipeHash(): Promise<string> {
  const folder = path.join(import.meta.dirname, "guest");
  const names = (await readdir(folder, { recursive: true })).filter((name) => !name.endsWith(".test.ts")).toSorted();
  const contents = await Promise.all(
    names.map(async (name) => `${name}\0${await readFile(path.join(folder, name), "utf8").catch(() => "")}\0`),
  );
  return hash("sha256", contents.join("")).slice(0, 16);
}

async function checkTools(): Promise<void> {
  const missing: string[] = [];
  for (const [file, debianPackage] of Object.entries(neededFiles)) {
    if (!(await exists(file))) missing.push(`${file} (package ${debianPackage})`);
  }
  if (missing.length > 0) throw new Error(`building the guest image needs ${missing.join(", ")}`);
}

async function exists(file: string): Promise<boolean> {
  return await access(file, constants.R_OK).then(
    () => true,
    () => false,
  );
}
