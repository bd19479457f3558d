/**
 * Picks the drivers a guest needs from an unpacked kernel package, in an order in which they can be loaded one by one:
 * each after all it depends on. Works for modules as they are (Debian 12) and xz-compressed (Debian 13); a driver that
 * is built into the kernel needs no module. Facts: modinfo(8), Linux 6.1 Documentation/kbuild/kbuild.rst on
 * modules.builtin.
 */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { run } from "#command.ts";

interface KernelModule {
  readonly name: string;
  /** Uncompressed. */
  readonly content: Buffer;
}

/** Throws if a driver is neither a module nor built in. `modulesFolder` is …/lib/modules/<release>. */
export async function collectModules(
  modulesFolder: string,
  wanted: readonly string[],
  signal: AbortSignal | undefined,
): Promise<KernelModule[]> {
  const files = await moduleFiles(modulesFolder);
  const builtin = await builtinModules(modulesFolder);
  const ordered = new Map<string, KernelModule>();
  const add = async (name: string): Promise<void> => {
    if (ordered.has(name) || builtin.has(name)) return;
    const file = files.get(name);
    if (file === undefined) throw new Error(`the kernel in ${modulesFolder} has no driver ${name}`);
    const content = await readModule(file, signal);
    for (const dependency of dependencies(content)) await add(dependency);
    ordered.set(name, { name, content });
  };
  for (const name of wanted) await add(name);
  return [...ordered.values()];
}

/** File names and dependencies disagree about dash and underscore; the kernel takes them as the same. */
function canonical(name: string): string {
  return path
    .basename(name)
    .replace(/\.ko(?:\.xz)?$/u, "")
    .replaceAll("-", "_");
}

async function moduleFiles(modulesFolder: string): Promise<Map<string, string>> {
  const names = await readdir(path.join(modulesFolder, "kernel"), { recursive: true });
  const modules = names.filter((name) => /\.ko(?:\.xz)?$/u.test(name));
  return new Map(modules.map((name) => [canonical(name), path.join(modulesFolder, "kernel", name)]));
}

async function builtinModules(modulesFolder: string): Promise<Set<string>> {
  const text = await readFile(path.join(modulesFolder, "modules.builtin"), "utf8");
  return new Set(text.split("\n").map(canonical));
}

async function readModule(file: string, signal: AbortSignal | undefined): Promise<Buffer> {
  if (!file.endsWith(".xz")) return await readFile(file);
  const plain = file.slice(0, -".xz".length);
  await run(["xz", "--decompress", "--keep", "--force", file], { signal });
  return await readFile(plain);
}

/** From the module's .modinfo section: strings `key=value`, each ended by NUL. */
function dependencies(content: Buffer): string[] {
  const key = "\0depends=";
  const start = content.indexOf(key, 0, "latin1");
  if (start === -1) return [];
  const valueStart = start + key.length;
  const value = content.toString("latin1", valueStart, content.indexOf(0, valueStart));
  return value.split(",").filter(Boolean).map(canonical);
}
