/** The data of libvirt's own tests: from the cache of its source package, which is brought from Debian's archive if it is not there. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

/** Debian 12's (packages/libvirt/tool/source-package.ts). */
const release = "9.0.0";
const tool = path.join(import.meta.dirname, "../../../../../../libvirt/tool/source-package.ts");
const bringMs = 600_000;

interface LibvirtTests {
  readonly folder: string;
  /** For node:test: false, or why the data can't be had here. */
  readonly skip: string | false;
}

export function libvirtTests(): LibvirtTests {
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache");
  const folder = path.join(cache, `innkeeper/libvirt-source/libvirt-${release}/tests`);
  if (existsSync(folder)) return { folder, skip: false };
  try {
    const script = `await (await import(${JSON.stringify(tool)})).libvirtSource()`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { stdio: "pipe", timeout: bringMs });
  } catch (error) {
    // Another test may have brought it at the same time.
    const words = String((error as { stderr?: unknown }).stderr ?? error).trim();
    if (!existsSync(folder))
      return { folder, skip: `libvirt's source package can't be had: ${words.split("\n").at(-1)}` };
  }
  return { folder, skip: false };
}
