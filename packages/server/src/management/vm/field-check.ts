/** Refusals that name the request's field; thrown before anything is touched. */
import type { ErrorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "#core/app-error.ts";

/** `refuse("memory.sizeMiB", "must be …")`. */
export function refuse(field: string, message: string, code: ErrorCode = "invalid_field", remedy?: string): never {
  throw new AppError(code, message, { field, ...(remedy === undefined ? {} : { remedy }) });
}

/** Refuses the second of two equal values; `fieldOf` names the field of the n-th. */
export function refuseDuplicates<T>(
  values: readonly T[],
  fieldOf: (index: number) => string,
  what: (value: T) => string,
): void {
  const seen = new Set<T>();
  for (const [index, value] of values.entries()) {
    if (seen.has(value)) refuse(fieldOf(index), `${what(value)} is given twice.`);
    seen.add(value);
  }
}

/** CPU or node numbers of a set as libvirt writes it (`0-3,8,^2`); undefined if it is malformed or empty. */
export function parseCpuSet(text: string): Set<number> | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(\^?)(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (match === null) return undefined;
    const first = Number(match[2]);
    const last = match[3] === undefined ? first : Number(match[3]);
    if (last < first) return undefined;
    for (let number = first; number <= last; number++) {
      if (match[1] === "^") numbers.delete(number);
      else numbers.add(number);
    }
  }
  return numbers.size === 0 ? undefined : numbers;
}
