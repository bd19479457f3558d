/**
 * Finds what a run left behind on this machine: processes, mounts, network interfaces, namespaces, files. Used after
 * the tests, which run with TMPDIR and INNKEEPER_LAB_ROOT below one folder, so that everything of this run can be told
 * from what other programs (and other labs) are doing at the same time.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import path from "node:path";
import { interfacePrefix } from "#layout.ts";
import { listProcesses } from "#namespace.ts";

/** One line per thing that should not be there; empty when the machine is as it was. */
export async function findLeftovers(runFolder: string): Promise<string[]> {
  const found = await Promise.all([
    leftProcesses(runFolder),
    leftMounts(runFolder),
    leftInterfaces(runFolder),
    leftFiles(runFolder),
  ]);
  return found.flat();
}

/** A process is of this run if the folder stands in its arguments, its environment or its working folder. */
async function leftProcesses(runFolder: string): Promise<string[]> {
  const left: string[] = [];
  const ancestors = await ownAncestors();
  for (const [pid, argv] of await listProcesses()) {
    if (ancestors.has(pid)) continue;
    const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
    const workingFolder = await readlink(`/proc/${pid}/cwd`).catch(() => "");
    if ([...argv, environment, workingFolder].some((text) => text.includes(runFolder))) {
      left.push(`process ${pid}: ${argv.join(" ").trim()}`);
    }
  }
  return left;
}

/** This process and those that started it may know the folder. */
async function ownAncestors(): Promise<Set<number>> {
  const ancestors = new Set<number>();
  for (let pid = process.pid; pid > 0 && !ancestors.has(pid);) {
    ancestors.add(pid);
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    pid = Number(/^PPid:\s+(\d+)$/mu.exec(status)?.[1] ?? 0);
  }
  return ancestors;
}

async function leftMounts(runFolder: string): Promise<string[]> {
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  return mounts.filter((line) => line.includes(runFolder)).map((line) => `mount: ${line}`);
}

/** A lab's interface has the lab's folder as its alias. */
async function leftInterfaces(runFolder: string): Promise<string[]> {
  const names = (await readdir("/sys/class/net")).filter((name) => name.startsWith(interfacePrefix));
  const aliases = names.map((name) => readFile(`/sys/class/net/${name}/ifalias`, "utf8").catch(() => ""));
  const found = await Promise.all(aliases);
  return names.filter((_name, index) => found[index]?.includes(runFolder)).map((name) => `network interface: ${name}`);
}

async function leftFiles(runFolder: string): Promise<string[]> {
  const entries = await readdir(runFolder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => !entry.isDirectory() || path.dirname(entry.parentPath) === runFolder);
  return files.slice(0, 50).map((entry) => `file: ${path.join(entry.parentPath, entry.name)}`);
}
