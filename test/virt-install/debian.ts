/** Debian's virt-install (package virtinst), asked through virt-install.py, and the command lines that it is asked for. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

const folder = import.meta.dirname;
/** Debian's own, which its packages' modules belong to. */
const python = "/usr/bin/python3";
const common = "--memory 2048 --disk size=10 --osinfo debian11 --import";

export const skip = !existsSync("/usr/share/virt-manager/virtinst") && "needs Debian's virtinst";

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
