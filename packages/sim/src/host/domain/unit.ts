// Sizes in domain XML: a number and a unit; memory is in KiB where none is named.
import { scaled } from "#xml/document.ts";
import { textOf } from "#xml/element.ts";
import type { Element } from "#xml/element.ts";

/** Rounded up. undefined when there is no such element, or no number in it. */
export function kibOf(size: Element | undefined): bigint | undefined {
  const digits = textOf(size)?.trim();
  if (size === undefined || digits === undefined || !/^\d{1,15}$/u.test(digits)) return undefined;
  return BigInt(Math.ceil(scaled(BigInt(digits), size.attributes.get("unit") ?? "KiB") / 1_024));
}
