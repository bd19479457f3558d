/**
 * How cost grows with the fleet: bench/scale.json as a chart and a table.
 *   node bench/scale-chart.ts
 * Writes docs/scale.svg, and the table into docs/scale.md between its two marks. Each panel has its own measure, from 0, and a dashed line
 * where the figure was to stay below; the horizontal measure is the number of VMs.
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { readFigures, type ScaleFigures } from "./scale-figure.ts";

interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly wanted: number;
  readonly digits: number;
  value(figures: ScaleFigures): number | undefined;
}

const panels: readonly Panel[] = [
  { title: "Start until it answers", unit: "s", wanted: 10, digits: 1, value: ({ readyMs }) => readyMs / 1000 },
  { title: "Resident memory", unit: "MB", wanted: 1000, digits: 0, value: ({ residentMB }) => residentMB },
  { title: "Polling, of one core", unit: "%", wanted: 50, digits: 1, value: ({ pollPct }) => pollPct },
  { title: "Page of 100, p99", unit: "ms", wanted: 20, digits: 1, value: ({ pageMs }) => pageMs },
  { title: "List of up to 20,000, mean", unit: "ms", wanted: 250, digits: 1, value: ({ listMs }) => listMs },
  { title: "One VM, p99", unit: "ms", wanted: 5, digits: 1, value: ({ oneMs }) => oneMs },
  { title: "Change to the watch, p99, 500/s", unit: "ms", wanted: 250, digits: 0, value: ({ eventMs }) => eventMs },
  { title: "Lost of 5,000 changes/s", unit: "VMs", wanted: 0, digits: 0, value: ({ lostChanges }) => lostChanges },
];

/** Nothing to be seen of one that is 0. */
const charted = panels.filter(({ wanted }) => wanted > 0);

const columns = 4;
const size = { width: 240, height: 190 };
const plot = { left: 14, right: 34, top: 44, bottom: 30 };
/** Legible on white and on black. */
const colours = { text: "#7d8590", line: "#3b82f6", wanted: "#d97706", axis: "#7d859066" };

function drawPanel(panel: Panel, index: number, all: readonly ScaleFigures[]): string {
  const points = all.flatMap((figures) => {
    const value = panel.value(figures);
    return value === undefined ? [] : [{ vms: figures.vms, value }];
  });
  const most = Math.max(panel.wanted, ...points.map(({ value }) => value), 1) * 1.15;
  const mostVms = Math.max(...all.map(({ vms }) => vms));
  const [width, height] = [size.width - plot.left - plot.right, size.height - plot.top - plot.bottom];
  const x = (vms: number): number => Math.round(plot.left + (vms / mostVms) * width);
  const y = (value: number): number => Math.round(plot.top + height - (value / most) * height);
  const [column, row] = [index % columns, Math.floor(index / columns)];
  return [
    `<g transform="translate(${column * size.width} ${row * size.height})">`,
    `<text x="${plot.left}" y="18" fill="${colours.text}" font-weight="600">${panel.title}, ${panel.unit}</text>`,
    `<path d="M${plot.left} ${plot.top}V${plot.top + height}H${plot.left + width}" fill="none" stroke="${colours.axis}"/>`,
    `<path d="M${plot.left} ${y(panel.wanted)}h${width}" stroke="${colours.wanted}" stroke-dasharray="4 3"/>`,
    label(plot.left + 4, y(panel.wanted) - 4, `≤ ${panel.wanted}`, colours.wanted, "start"),
    `<polyline points="${points.map(({ vms, value }) => `${x(vms)},${y(value)}`).join(" ")}" fill="none" stroke="${colours.line}" stroke-width="2"/>`,
    ...points.map(({ vms, value }) => `<circle cx="${x(vms)}" cy="${y(value)}" r="3" fill="${colours.line}"/>`),
    ...points.map(({ vms, value }) => label(x(vms), y(value) - 7, value.toFixed(panel.digits), colours.line)),
    ...points.map(({ vms }) => label(x(vms), plot.top + height + 14, thousands(vms), colours.text)),
    "</g>",
  ].join("\n");
}

function label(at: number, down: number, text: string, colour: string, anchor = "middle"): string {
  return `<text x="${at}" y="${down}" fill="${colour}" text-anchor="${anchor}">${text}</text>`;
}

function thousands(count: number): string {
  return count.toLocaleString("en");
}

function draw(all: readonly ScaleFigures[]): string {
  const [width, height] = [columns * size.width, Math.ceil(charted.length / columns) * size.height];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    "<title>Cost of the control plane by the number of VMs</title>",
    ...charted.map((panel, index) => drawPanel(panel, index, all)),
    "</svg>\n",
  ].join("\n");
}

function table(all: readonly ScaleFigures[]): string {
  const heads = all.map(({ hosts, vms }) => `${thousands(hosts)} hosts, ${thousands(vms)} VMs`);
  const rows = panels.map((panel) => {
    const cells = all.map((figures) => {
      const value = panel.value(figures);
      return value === undefined ? "–" : `${value.toFixed(panel.digits)} ${panel.unit}`;
    });
    return [panel.title, ...cells, `≤ ${panel.wanted} ${panel.unit}`];
  });
  const lines = [["", ...heads, "wanted"], ["---", ...all.map(() => "--:"), "--:"], ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const begin = "<!-- begin: bench/scale-chart.ts -->";
const end = "<!-- end -->";

const all = await readFigures();
if (all.length === 0) throw new Error("there are no figures: node bench/scale.ts 250 20 --save");
const docs = path.join(import.meta.dirname, "../docs");
await writeFile(path.join(docs, "scale.svg"), draw(all));
const page = await readFile(path.join(docs, "scale.md"), "utf8");
const [before, after] = [page.indexOf(begin), page.indexOf(end)];
if (before < 0 || after < before) {
  console.log(table(all));
  throw new Error(`docs/scale.md has no ${begin} and ${end} between which this table belongs`);
}
const text = `${page.slice(0, before)}${begin}\n\n${table(all)}\n\n${page.slice(after)}`;
await writeFile(path.join(docs, "scale.md"), text);
