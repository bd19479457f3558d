/** Times for people. */
import { formatDurationMs } from "@innkeeper/contract/unit.ts";

/** `2026-11-23 05:12:07 (3.2 s ago)`, in the local time zone. */
export function ago(time: string | undefined, nowMs: number = Date.now()): string {
  if (time === undefined) return "";
  const atMs = Date.parse(time);
  if (Number.isNaN(atMs)) return time;
  return `${localTime(atMs)} (${formatDurationMs(Math.max(0, nowMs - atMs))} ago)`;
}

/** How long ago, for a column. */
export function age(time: string | undefined, nowMs: number = Date.now()): string {
  if (time === undefined) return "";
  const atMs = Date.parse(time);
  return Number.isNaN(atMs) ? time : formatDurationMs(Math.max(0, Math.floor((nowMs - atMs) / 1000) * 1000));
}

export function localTime(atMs: number): string {
  const date = new Date(atMs);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
