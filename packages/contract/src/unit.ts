/** Units: conversion, and the one way sizes and times are read from and shown to people. */
export const bytesPerKiB = 1024;
export const bytesPerMiB = 1024 ** 2;
export const bytesPerGiB = 1024 ** 3;

/** Bytes of a unit of size in lower case, as libvirt (virScaleInteger), qemu-img and people write them: `g`, `gib`, `gb`. */
export const bytesPerUnit: Readonly<Record<string, number>> = {
  b: 1,
  byte: 1,
  bytes: 1,
  k: 1024,
  kib: 1024,
  kb: 1000,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  mb: 1000 ** 2,
  g: 1024 ** 3,
  gib: 1024 ** 3,
  gb: 1000 ** 3,
  t: 1024 ** 4,
  tib: 1024 ** 4,
  tb: 1000 ** 4,
  p: 1024 ** 5,
  pib: 1024 ** 5,
  pb: 1000 ** 5,
};

/**
 * A size in bytes from text such as `20G`, `1.5 TiB`, `512MB`, as qemu-img and lvcreate read it (`G` = GiB, `GB` = 10⁹).
 * A bare number is in `defaultUnit`. Returns undefined when the text is no size.
 */
export function parseSizeBytes(text: string, defaultUnit = "b"): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  if (!match) return undefined;
  const factor = bytesPerUnit[(match[2] === "" ? defaultUnit : (match[2] ?? "")).toLowerCase()];
  if (factor === undefined) return undefined;
  const bytes = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** A size for people, in binary units with at most one decimal: `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let index = 0;
  while (Math.abs(value) >= 1024 && index < units.length - 1) {
    value /= 1024;
    index++;
  }
  const text = index === 0 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
  return `${text} ${units[index]}`;
}

/** A duration for people: `420 ms`, `3.2 s`, `2 min 5 s`, `3 h 12 min`, `4 d 2 h`. */
export function formatDurationMs(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)} ms`;
  if (durationMs < 60_000) return `${(durationMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}
