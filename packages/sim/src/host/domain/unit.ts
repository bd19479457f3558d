// Sizes in domain XML: a number and a unit (virScaleInteger in libvirt 9.0 src/util/virutil.c); memory is in KiB.
import { textOf } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";

const FACTORS: Readonly<Record<string, bigint>> = {
  b: 1n,
  bytes: 1n,
  kb: 1_000n,
  k: 1_024n,
  kib: 1_024n,
  mb: 1_000_000n,
  m: 1_048_576n,
  mib: 1_048_576n,
  gb: 1_000_000_000n,
  g: 1_073_741_824n,
  gib: 1_073_741_824n,
  tb: 1_000_000_000_000n,
  t: 1_099_511_627_776n,
  tib: 1_099_511_627_776n,
};

/** undefined when there is no such element, or no number in it. */
export function kibOf(size: Element | undefined): bigint | undefined {
  const digits = textOf(size)?.trim();
  if (size === undefined || digits === undefined || !/^\d{1,15}$/u.test(digits)) return undefined;
  const factor = FACTORS[(size.attributes.get("unit") ?? "KiB").toLowerCase()];
  return factor === undefined ? undefined : (BigInt(digits) * factor + 1_023n) / 1_024n;
}
