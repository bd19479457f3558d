/** Figures as PowerCLI's objects and tables have them: GB and MB are powers of 1024, three decimals in tables. */
import { bytesPerGiB, bytesPerMiB } from "@innkeeper/contract/unit.ts";

/** At most three decimals, so that JSON shows what the table shows. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export function gbOfBytes(bytes: number): number {
  return rounded(bytes / bytesPerGiB);
}

export function gbOfMiB(sizeMiB: number): number {
  return gbOfBytes(sizeMiB * bytesPerMiB);
}

export function figure(value: number | null): string {
  return value === null ? "" : value.toFixed(3);
}
