/**
 * The samples of the last hour, in memory: one place for every 20 s of each thing that is measured. Numbers are of 16 bits
 * (11 of them significant: 0.05 %), in pages of many things of a kind; a metric that is the same for all of a page, mostly 0, has none.
 * At 50,000 VMs that is some 4 KiB for each that runs.
 */
import { type MetricName, metricLevels, metricNames } from "@innkeeper/contract/resource/metric.ts";
import type { Values } from "#management/metric/sample.ts";

export const sampleMs = metricLevels[0].intervalSeconds * 1000;
const slotCount = metricLevels[0].keptSeconds / metricLevels[0].intervalSeconds;
const rowsPerPage = 128;

/** So that a cluster of hundreds of hosts fits into 65,504 and what is small is not lost: 16 bits reach from 6e-8 (IEEE 754 binary16). */
export const metricScale: Readonly<Record<MetricName, number>> = {
  cpuUsagePct: 1,
  cpuReadyPct: 1,
  memoryActiveMiB: 65_536,
  memoryConsumedMiB: 65_536,
  memoryBalloonedMiB: 65_536,
  memorySwapKiBps: 16_384,
  diskReadKiBps: 16_384,
  diskWriteKiBps: 16_384,
  diskReadIops: 4096,
  diskWriteIops: 4096,
  diskReadLatencyMs: 1,
  diskWriteLatencyMs: 1,
  networkReceiveKiBps: 16_384,
  networkTransmitKiBps: 16_384,
  storageUsedMiB: 65_536,
};
const scales = metricNames.map((name) => metricScale[name]);

/** Of `rowsPerPage` things; within an array all of one slot stand together. */
interface Page {
  /** 1: there is a sample. */
  readonly present: Uint8Array;
  /** By metric: the samples, or what all of them are. */
  readonly columns: (Float16Array | number)[];
}

export interface Summary {
  readonly average: Values;
  readonly maximum: Values;
}

export class RecentSamples {
  readonly #rows = new Map<string, number>();
  /** Rows of pages, by the kind of things that the page is for: those have the same metrics, and many of them alike. */
  readonly #free = new Map<string, number[]>();
  readonly #pages: Page[] = [];
  /** The slot that was written last, counted from 1970. */
  #slot = 0;

  /** All that have, or had within the hour, samples. */
  ids(): IterableIterator<string> {
    return this.#rows.keys();
  }

  /** A second sample of the same 20 s takes the place of the first. */
  record(id: string, atMs: number, values: Values): void {
    const slot = slotOf(atMs);
    this.#advance(slot);
    const row = this.#rows.get(id) ?? this.#add(id);
    const page = this.#pages[Math.floor(row / rowsPerPage)];
    if (page === undefined) return;
    const place = placeOf(slot, row);
    page.present[place] = 1;
    for (const [index, scale] of scales.entries()) setValue(page, index, place, (values[index] ?? Number.NaN) / scale);
  }

  /** It is gone: so are its samples. */
  forget(id: string): void {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.#rows.delete(id);
    this.#freeOf(id).push(row);
    const { present } = this.#pages[Math.floor(row / rowsPerPage)] ?? {};
    for (let slot = 0; slot < slotCount; slot++) if (present) present[placeOf(slot, row)] = 0;
  }

  /** One value for each 20 s from `fromMs` until before `toMs`; null: not known. */
  series(id: string, name: MetricName, fromMs: number, toMs: number): (number | null)[] {
    const index = metricNames.indexOf(name);
    const points: (number | null)[] = [];
    for (let slot = slotOf(fromMs); slot < slotOf(toMs); slot++) {
      const found = this.#pageAt(id, slot);
      const value = found === undefined ? Number.NaN : valueAt(found.page, index, found.place);
      points.push(Number.isNaN(value) ? null : value);
    }
    return points;
  }

  /** The newest sample's value, if that is known and not older than `maxAgeMs`. */
  latest(id: string, name: MetricName, nowMs: number, maxAgeMs: number): number | undefined {
    const index = metricNames.indexOf(name);
    for (let slot = slotOf(nowMs); slot >= slotOf(nowMs - maxAgeMs); slot--) {
      const found = this.#pageAt(id, slot);
      if (found === undefined) continue;
      const value = valueAt(found.page, index, found.place);
      return Number.isNaN(value) ? undefined : value;
    }
    return undefined;
  }

  /** Of all samples from `fromMs` until before `toMs`; undefined if there is none. */
  summary(id: string, fromMs: number, toMs: number): Summary | undefined {
    const samples: Values[] = [];
    for (let slot = slotOf(fromMs); slot < slotOf(toMs); slot++) {
      const found = this.#pageAt(id, slot);
      if (found !== undefined) samples.push(metricNames.map((_, index) => valueAt(found.page, index, found.place)));
    }
    return summaryOf(samples.map((values) => ({ average: values, maximum: values })));
  }

  #pageAt(id: string, slot: number): { readonly page: Page; readonly place: number } | undefined {
    const row = this.#rows.get(id);
    if (row === undefined || slot > this.#slot || slot <= this.#slot - slotCount) return undefined;
    const page = this.#pages[Math.floor(row / rowsPerPage)];
    const place = placeOf(slot, row);
    return page?.present[place] === 1 ? { page, place } : undefined;
  }

  #add(id: string): number {
    const free = this.#freeOf(id);
    if (free.length === 0) {
      const end = (this.#pages.length + 1) * rowsPerPage;
      for (let row = end - 1; row >= end - rowsPerPage; row--) free.push(row);
      // The first sample says what most will be.
      this.#pages.push({ present: new Uint8Array(slotCount * rowsPerPage), columns: scales.map(() => Number.NaN) });
    }
    const row = free.pop() ?? 0;
    this.#rows.set(id, row);
    return row;
  }

  #freeOf(id: string): number[] {
    const kind = id.slice(0, id.indexOf("-"));
    const free = this.#free.get(kind) ?? [];
    this.#free.set(kind, free);
    return free;
  }

  /**
   * The slots from the last one on are free for new samples. If the clock was set back, what was recorded of the time that
   * is to come is no sample of it.
   */
  #advance(slot: number): void {
    const isSetBack = slot < this.#slot - 1;
    if (slot <= this.#slot && !isSetBack) return;
    const [first, last] = isSetBack ? [slot + 1, this.#slot] : [this.#slot + 1, slot];
    for (let next = Math.max(first, last - slotCount + 1); next <= last; next++) {
      const place = placeOf(next, 0);
      for (const { present } of this.#pages) present.fill(0, place, place + rowsPerPage);
    }
    this.#slot = slot;
  }
}

/** Averages of averages, and the greatest of maxima; undefined of nothing. */
export function summaryOf(parts: readonly Summary[]): Summary | undefined {
  if (parts.length === 0) return undefined;
  const average = metricNames.map((_, index) => {
    const known = parts.map((part) => part.average[index] ?? Number.NaN).filter((value) => !Number.isNaN(value));
    return known.reduce((sum, value) => sum + value, 0) / known.length;
  });
  const maximum = metricNames.map((_, index) =>
    parts.reduce((most, part) => {
      const value = part.maximum[index] ?? Number.NaN;
      return Number.isNaN(most) || value > most ? value : most;
    }, Number.NaN),
  );
  return { average, maximum };
}

function setValue(page: Page, index: number, place: number, value: number): void {
  const column = page.columns[index];
  if (typeof column === "object") {
    column[place] = value;
    return;
  }
  const rounded = Math.f16round(value);
  if (Object.is(rounded, column)) return;
  // Nothing was written yet.
  const isFirst = page.present.indexOf(1) === page.present.lastIndexOf(1);
  if (isFirst) page.columns[index] = rounded;
  else {
    const samples = new Float16Array(slotCount * rowsPerPage).fill(column ?? Number.NaN);
    samples[place] = value;
    page.columns[index] = samples;
  }
}

function valueAt(page: Page, index: number, place: number): number {
  const column = page.columns[index];
  const value = typeof column === "object" ? column[place] : column;
  return (value ?? Number.NaN) * (scales[index] ?? 1);
}

function slotOf(atMs: number): number {
  return Math.floor(atMs / sampleMs);
}

function placeOf(slot: number, row: number): number {
  return (slot % slotCount) * rowsPerPage + (row % rowsPerPage);
}
