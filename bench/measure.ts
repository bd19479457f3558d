/** What the benches share: medians, what a process costs, and a table of ours beside theirs. */
import { readFile } from "node:fs/promises";

/** sysconf(_SC_CLK_TCK), 100 on every Linux that Node runs on: proc(5). */
const ticksPerSecond = 100;

/** CPU time that a process has taken. */
export async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /u, "").split(" ");
  // utime and stime are fields 14 and 15 of proc(5); the replacement took the first two away.
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Resident memory of a process, now or at most so far (`VmHWM`). */
export async function residentMegabytes(pid: number, field: "VmRSS" | "VmHWM" = "VmRSS"): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "mu").exec(status)?.[1]) * 1024 * 1e-6;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

/** Milliseconds that the work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

export function printRow(cells: readonly string[], widths: readonly number[]): void {
  console.log(cells.map((cell, index) => pad(cell, widths[index] ?? 10, index === 0)).join(" "));
}

/** What is wanted of a figure beside whether it is so; `text` is the figure's bound as people write it, as in `≤ 1.1`. */
export function verdict(value: number, text: string): string {
  const [, relation, bound] = /^([≤≥<]) ([\d.]+)/u.exec(text) ?? [];
  const limit = Number(bound);
  const isMet = relation === "≥" ? value >= limit : relation === "≤" ? value <= limit : value < limit;
  return `${text} ${isMet ? "met" : "missed"}`;
}

function pad(cell: string, width: number, isFirst: boolean): string {
  return isFirst ? cell.padEnd(width) : cell.padStart(width);
}
