/** What the benches share: medians, and a table of ours beside theirs. */

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
