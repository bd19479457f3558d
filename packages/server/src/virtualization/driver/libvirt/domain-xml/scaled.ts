/**
 * Sizes as libvirt writes them: a number and a unit attribute (libvirt 9.0 docs/formatdomain.rst "Memory Allocation",
 * virScaleInteger). Binary units are powers of 1024, those that end in B of 1000.
 */
import type { Element } from "@xmldom/xmldom";
import { attribute, text, wholeNumber } from "./element.ts";

const factorByUnit: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  kb: 1000,
  k: 1024,
  kib: 1024,
  mb: 1000 ** 2,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  gb: 1000 ** 3,
  g: 1024 ** 3,
  gib: 1024 ** 3,
  tb: 1000 ** 4,
  t: 1024 ** 4,
  tib: 1024 ** 4,
  pb: 1000 ** 5,
  p: 1024 ** 5,
  pib: 1024 ** 5,
};

/** Bytes of `value` in `unit`; a missing unit is KiB, as everywhere in a domain's memory elements. */
export function scaledBytes(value: string | undefined, unit: string | undefined): number | undefined {
  const number = wholeNumber(value);
  const factor = factorByUnit[(unit ?? "KiB").toLowerCase()];
  return number === undefined || factor === undefined ? undefined : number * factor;
}

/** Whole KiB of an element such as <memory unit='GiB'>4</memory>, rounded up as libvirt does. */
export function elementKiB(element: Element | undefined): number | undefined {
  const bytes = scaledBytes(text(element), attribute(element, "unit"));
  return bytes === undefined ? undefined : Math.ceil(bytes / 1024);
}

/** Whole MiB, rounded up. */
export function elementMiB(element: Element | undefined): number | undefined {
  const kiB = elementKiB(element);
  return kiB === undefined ? undefined : Math.ceil(kiB / 1024);
}
