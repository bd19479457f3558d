/**
 * The guest's root file system, which the kernel unpacks into memory: static busybox, the drivers, Debian's
 * qemu-guest-agent with its libraries, and the scripts in root/. Everything the guest must keep is on its data disk.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { run } from "#command.ts";
import { packArchive, type ArchiveEntry } from "#guest/cpio.ts";
import { collectModules } from "#guest/kernel-module.ts";

const guestRootFolder = fileURLToPath(import.meta.resolve("#guest/root"));

// In this order: the disk first. scsi_mod's sd_mod and sr_mod give virtio-scsi its disks and CD-ROMs; button and evdev
// carry the power button to acpid.
const drivers = ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "virtio_net", "virtio_console"];
const smallDrivers = ["virtio_balloon", "virtio_rng", "button", "evdev", "isofs", "vfat", "nls_ascii", "nls_cp437"];
const folders = ["bin", "sbin", "dev", "proc", "sys", "run", "tmp", "data", "root", "lib/modules", "etc"];
const busyboxFile = "/bin/busybox";

export async function buildInitramfs(packageRoot: string, signal: AbortSignal | undefined): Promise<Buffer> {
  const files = new Map<string, ArchiveEntry>();
  const add = (entry: ArchiveEntry): void => {
    for (let parent = path.dirname(entry.path); parent !== "."; parent = path.dirname(parent)) {
      if (!files.has(parent)) files.set(parent, { path: parent, kind: "folder", mode: 0o755 });
    }
    files.set(entry.path, entry);
  };
  for (const folder of folders) add({ path: folder, kind: "folder", mode: 0o755 });
  for (const entry of await busyboxEntries(signal)) add(entry);
  for (const entry of await scriptEntries()) add(entry);
  for (const entry of await moduleEntries(packageRoot, signal)) add(entry);
  for (const entry of await agentEntries(packageRoot, signal)) add(entry);
  // Parents sort before what they hold.
  const ordered = [...files.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return await promisify(gzip)(packArchive(ordered), { level: 6 });
}

async function busyboxEntries(signal: AbortSignal | undefined): Promise<ArchiveEntry[]> {
  const content = await readFile(busyboxFile);
  if (asksForLoader(content)) throw new Error(`${busyboxFile} is not static: install busybox-static`);
  const applets = (await run([busyboxFile, "--list"], { signal })).stdout.split("\n").filter(Boolean);
  const links = applets.filter((name) => name !== "busybox");
  return [
    { path: "bin/busybox", kind: "file", mode: 0o755, content },
    ...links.map((name): ArchiveEntry => ({ path: `bin/${name}`, kind: "symlink", mode: 0o777, content: "busybox" })),
  ];
}

/** Has the ELF file an interpreter (PT_INTERP), so that it needs shared libraries? Facts: elf(5), ELF64. */
function asksForLoader(elf: Buffer): boolean {
  const tableStart = Number(elf.readBigUInt64LE(32));
  const entrySize = elf.readUInt16LE(54);
  const entryCount = elf.readUInt16LE(56);
  const types = Array.from({ length: entryCount }, (_unused, index) =>
    elf.readUInt32LE(tableStart + index * entrySize),
  );
  return types.includes(3);
}

async function scriptEntries(): Promise<ArchiveEntry[]> {
  const names = await readdir(guestRootFolder, { recursive: true });
  const entries: ArchiveEntry[] = [];
  for (const name of names) {
    const file = path.join(guestRootFolder, name);
    if (!(await stat(file)).isFile()) continue;
    const content = await readFile(file);
    entries.push({
      path: name,
      kind: "file",
      mode: content.toString("latin1", 0, 2) === "#!" ? 0o755 : 0o644,
      content,
    });
  }
  return entries;
}

async function moduleEntries(packageRoot: string, signal: AbortSignal | undefined): Promise<ArchiveEntry[]> {
  const modulesFolder = await kernelModulesFolder(packageRoot);
  const modules = await collectModules(modulesFolder, [...drivers, ...smallDrivers], signal);
  return modules.map(({ name, content }, index) => {
    const number = String(index).padStart(3, "0");
    return { path: `lib/modules/${number}-${name}.ko`, kind: "file", mode: 0o644, content };
  });
}

/** Debian 12 packages have lib/modules, Debian 13 (merged /usr) usr/lib/modules. */
async function kernelModulesFolder(packageRoot: string): Promise<string> {
  for (const parent of ["usr/lib/modules", "lib/modules"]) {
    const folder = path.join(packageRoot, parent);
    const [release] = await readdir(folder).catch(() => []);
    if (release !== undefined) return path.join(folder, release);
  }
  throw new Error(`the kernel package has no modules in ${packageRoot}`);
}

/** The agent's program from its package, its libraries from this machine, which is of the same Debian release. */
async function agentEntries(packageRoot: string, signal: AbortSignal | undefined): Promise<ArchiveEntry[]> {
  const program = await firstFile([
    path.join(packageRoot, "usr/sbin/qemu-ga"),
    path.join(packageRoot, "usr/bin/qemu-ga"),
  ]);
  const entries: ArchiveEntry[] = [
    { path: "bin/qemu-ga", kind: "file", mode: 0o755, content: await readFile(program) },
  ];
  const { stdout } = await run(["ldd", program], { signal });
  const missing = [...stdout.matchAll(/^\s*(\S+) => not found$/gmu)].map((match) => match[1]);
  if (missing.length > 0) throw new Error(`qemu-guest-agent needs libraries that are not here: ${missing.join(", ")}`);
  for (const [, file = ""] of stdout.matchAll(/(\/\S+) \(0x[0-9a-f]+\)$/gmu)) {
    entries.push({ path: file.slice(1), kind: "file", mode: 0o755, content: await readFile(file) });
  }
  return entries;
}

async function firstFile(candidates: readonly string[]): Promise<string> {
  for (const candidate of candidates) {
    if (
      await stat(candidate).then(
        (found) => found.isFile(),
        () => false,
      )
    )
      return candidate;
  }
  throw new Error(`none of ${candidates.join(", ")} exists`);
}
