/** Tables for people: aligned columns without lines, cut to the terminal's width where it has one. */
import { cutText, padText, safeText, textWidth } from "#output/text-width.ts";

export interface Column<Row> {
  /** As it is named in `--columns`, in lower case. */
  readonly name: string;
  readonly value: (row: Row) => string;
  /** Numbers and sizes. */
  readonly right?: boolean;
  /** Shown only when it is asked for (`--columns`, or `-o wide`). */
  readonly extra?: boolean;
}

const gap = "  ";
/** A column is not cut below this: the line is left longer than the terminal instead. */
const columnMinWidth = 8;

/** `capitals` heads, or `ruled` ones as they are, with a line below each, as PowerShell's tables have them. */
type HeadStyle = "capitals" | "ruled";

/** `width`: of the terminal; undefined: nothing is cut, as for a pipe. */
export function tableText<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width?: number,
  style: HeadStyle = "capitals",
): string {
  const head = columns.map((column) => (style === "capitals" ? column.name.toUpperCase() : column.name));
  const rule = style === "ruled" ? [head.map((name) => "-".repeat(textWidth(name)))] : [];
  const cells = rows.map((row) =>
    columns.map((column) => safeText(column.value(row)) || (style === "ruled" ? "" : "-")),
  );
  const natural = columns.map((_column, index) =>
    Math.max(...[head, ...cells].map((line) => textWidth(line[index] ?? ""))),
  );
  const widths = width === undefined ? natural : fitted(natural, width);
  return [head, ...rule, ...cells].map((line) => `${lineText(line, widths, columns)}\n`).join("");
}

function lineText<Row>(line: readonly string[], widths: readonly number[], columns: readonly Column<Row>[]): string {
  return line
    .map((cell, index) => padText(cutText(cell, widths[index] ?? 0), widths[index] ?? 0, columns[index]?.right))
    .join(gap)
    .trimEnd();
}

/** Takes from the widest column until the line fits. */
function fitted(natural: readonly number[], width: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, each) => sum + each, 0) + gap.length * (widths.length - 1) - width;
  while (excess > 0) {
    const widest = Math.max(...widths);
    if (widest <= columnMinWidth) break;
    const second = Math.max(columnMinWidth, ...widths.filter((each) => each < widest));
    const index = widths.indexOf(widest);
    const take = Math.min(excess, Math.max(1, widest - second));
    widths[index] = widest - take;
    excess -= take;
  }
  return widths;
}

/** Names and values, one a line, the values aligned; values of several lines are continued below, empty ones left out. */
export function pairText(pairs: readonly (readonly [name: string, value: string])[], indent = ""): string {
  const shown = pairs.filter(([, value]) => value !== "");
  const width = Math.max(0, ...shown.map(([name]) => textWidth(name)));
  return shown
    .map(([name, value]) => {
      const lines = value.split("\n").map(safeText);
      const first = `${indent}${padText(name, width)}  ${lines[0] ?? ""}`.trimEnd();
      const more = lines.slice(1).map((line) => `${indent}${" ".repeat(width)}  ${line}`.trimEnd());
      return `${[first, ...more].join("\n")}\n`;
    })
    .join("");
}
