/**
 * Sizes as libvirt writes them: a number and a unit attribute (libvirt 9.0 docs/formatdomain.rst "Memory Allocation",
 * virScaleInteger). Binary units are powers of 1024, those that end in B of 1000.
 */
import type { ReadElement } from "#libvirt/read-xml.ts";
import { bytesPerUnit } from "@innkeeper/contract/unit.ts";
import { attribute, text, wholeNumber } from "./element.ts";

/** Bytes of `value` in `unit`; a missing unit is KiB, as everywhere in a domain's memory elements. */
export function scaledBytes(value: string | undefined, unit: string | undefined): number | undefined {
  const number = wholeNumber(value);
  const factor = bytesPerUnit[(unit ?? "KiB").toLowerCase()];
  return number === undefined || factor === undefined ? undefined : number * factor;
}

/** Whole KiB of an element such as <memory unit='GiB'>4</memory>, rounded up as libvirt does. */
export function elementKiB(element: ReadElement | undefined): number | undefined {
  const bytes = scaledBytes(text(element), attribute(element, "unit"));
  return bytes === undefined ? undefined : Math.ceil(bytes / 1024);
}

/** Whole MiB, rounded up. */
export function elementMiB(element: ReadElement | undefined): number | undefined {
  const kiB = elementKiB(element);
  return kiB === undefined ? undefined : Math.ceil(kiB / 1024);
}
