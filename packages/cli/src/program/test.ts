/** `inn test`: the launcher starts tool/test.ts itself; this is for those who start the CLI without the launcher. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { ProgramContext } from "#program-name.ts";

const script = path.resolve(import.meta.dirname, "../../../../tool/test.ts");

export async function test(argv: readonly string[], context: ProgramContext): Promise<number> {
  const child = spawn(process.execPath, [script, ...argv], { stdio: "inherit" });
  context.signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
  const [code] = (await once(child, "close")) as [number | null];
  return code ?? 1;
}
