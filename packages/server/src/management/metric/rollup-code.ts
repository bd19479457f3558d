/**
 * How roll-ups of many things are one text in the store: numbers of 16 bits as RecentSamples has them, zstd, base64. For
 * each thing its id, then the averages, then the maxima, in the order of the contract's metrics. What an older version
 * wrote has fewer metrics: the others are not known.
 */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { metricNames } from "@innkeeper/contract/resource/metric.ts";
import { metricScale, type Summary } from "#management/metric/recent-samples.ts";

/** Of 1 memory, disks and networks were scaled for single hosts: nothing released has written it. */
const version = 2;
const scales = metricNames.map((name) => metricScale[name]);
/** Of version and number of metrics. */
const headBytes = 2;

export function encodeRollup(summaries: ReadonlyMap<string, Summary>): string {
  const numbers = 2 * metricNames.length;
  const ids = [...summaries.keys()].map((id) => Buffer.from(id));
  const size = ids.reduce((sum, id) => sum + 1 + id.length + numbers * 2, headBytes);
  const content = new DataView(new ArrayBuffer(size));
  content.setUint8(0, version);
  content.setUint8(1, metricNames.length);
  let offset = headBytes;
  for (const [index, { average, maximum }] of [...summaries.values()].entries()) {
    const id = ids[index] ?? Buffer.alloc(0);
    content.setUint8(offset, id.length);
    new Uint8Array(content.buffer).set(id, offset + 1);
    offset += 1 + id.length;
    for (const values of [average, maximum]) {
      for (const [metric, scale] of scales.entries()) {
        content.setFloat16(offset, (values[metric] ?? Number.NaN) / scale);
        offset += 2;
      }
    }
  }
  return zstdCompressSync(new Uint8Array(content.buffer)).toString("base64");
}

/** `only`: of this one alone. */
export function decodeRollup(text: string, only?: string): Map<string, Summary> {
  const bytes = zstdDecompressSync(Buffer.from(text, "base64"));
  const content = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const summaries = new Map<string, Summary>();
  if (content.getUint8(0) !== version) return summaries;
  const count = content.getUint8(1);
  for (let offset = headBytes; offset < bytes.length;) {
    const idLength = content.getUint8(offset);
    const id = bytes.toString("latin1", offset + 1, offset + 1 + idLength);
    const first = offset + 1 + idLength;
    if (only === undefined || id === only) {
      summaries.set(id, { average: read(content, first, count), maximum: read(content, first + count * 2, count) });
    }
    offset = first + count * 4;
  }
  return summaries;
}

function read(content: DataView, first: number, count: number): number[] {
  return scales.map((scale, metric) => (metric < count ? content.getFloat16(first + metric * 2) * scale : Number.NaN));
}

const partCount = 256;

/** In which part of the store's roll-ups a thing is: few enough parts to write at once, small enough ones to read one thing's. */
export function partOf(id: string): number {
  let hash = 0;
  for (let index = 0; index < id.length; index++) hash = (Math.imul(hash, 31) + id.charCodeAt(index)) >>> 0;
  return hash % partCount;
}

export const parts: readonly number[] = Array.from({ length: partCount }, (_, part) => part);
