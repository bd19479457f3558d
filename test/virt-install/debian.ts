/** Debian's virt-install (package virtinst), asked through virt-install.py, and the command lines that it is asked for. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

const folder = import.meta.dirname;
/** Debian's own, which its packages' modules belong to. */
const python = "/usr/bin/python3";
const common = "--memory 2048 --disk size=10 --osinfo debian11 --import";

/** Why Debian's is not asked; its defaults and its database of systems change from release to release. */
export const skip = missing(
  "/usr/share/virt-manager/virtinst/buildconfig.py",
  /__version__ = "4\.1\.0"/,
  "virtinst 4.1",
);
export const skipSystems = missing("/usr/share/osinfo/VERSION", /^20221203/, "osinfo-db 0.20221130");

function missing(file: string, version: RegExp, what: string): string | false {
  return existsSync(file) && version.test(readFileSync(file, "utf8")) ? false : `needs Debian's ${what}`;
}

/** The lines of combination.txt. */
export function combinations(): string[] {
  return readFileSync(path.join(folder, "combination.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.replace(/^@/, common));
}

export interface Answer {
  readonly xml?: readonly string[];
  readonly error?: string;
}

/** What it prints for each command line; `uri` is its --connect. */
export async function debian(uri: string, commandLines: readonly (readonly string[])[]): Promise<Answer[]> {
  return await ask<Answer[]>(["run", uri], JSON.stringify(commandLines));
}

export async function ask<T>(words: readonly string[], input = ""): Promise<T> {
  const script = path.join(folder, "virt-install.py");
  const output = await new Promise<string>((resolve, reject) => {
    const options = { encoding: "utf8", maxBuffer: 1 << 28, timeout: 600_000 } as const;
    const child = execFile(python, [script, ...words], options, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
    child.stdin?.end(input);
  });
  return JSON.parse(output) as T;
}
