/** The figures of runs of bench/scale.ts, kept in bench/scale.json: one for each size of the fleet, the latest. */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

export interface ScaleFigures {
  readonly hosts: number;
  readonly vms: number;
  readonly addSeconds: number;
  readonly readyMs: number;
  readonly pollPct?: number;
  readonly residentMB?: number;
  readonly peakMB?: number;
  /** 99th percentile. */
  readonly pageMs: number;
  /** Mean. */
  readonly listMs: number;
  /** 99th percentile. */
  readonly oneMs: number;
  /** 99th percentile, at 500 changes a second. */
  readonly eventMs?: number;
  /** Of 5,000 changes a second for a minute. */
  readonly lostChanges?: number;
}

const file = path.join(import.meta.dirname, "scale.json");

export async function readFigures(): Promise<ScaleFigures[]> {
  return JSON.parse(await readFile(file, "utf8").catch(() => "[]")) as ScaleFigures[];
}

export async function saveFigures(figures: ScaleFigures): Promise<void> {
  const others = (await readFigures()).filter(({ hosts, vms }) => hosts !== figures.hosts || vms !== figures.vms);
  const all = [...others, figures].toSorted((a, b) => a.vms - b.vms);
  await writeFile(file, `${JSON.stringify(all, undefined, 2)}\n`);
}
