/** The order of a list: by fields, what has no value last, and by id where all else is equal, so that every place is one. */
import { type Field, firstValueAt, type Hop } from "@innkeeper/contract/field-path.ts";
import type { Related } from "@innkeeper/contract/filter-match.ts";

type SortValue = string | number | boolean | null;

export interface SortKey {
  readonly field: Field;
  readonly sign: 1 | -1;
}

/** A place in a list: of an item, or where a page ended. */
export interface Place {
  readonly id: string;
  readonly values: readonly SortValue[];
}

export interface Row extends Place {
  readonly resource: { readonly id: string };
}

/** As many characters of a text decide its place; equal ones are in the order of their ids. Bounds the cursor's size. */
const sortedCharacters = 100;

export function rowOf(resource: { readonly id: string }, keys: readonly SortKey[], related: Related): Row {
  return { id: resource.id, resource, values: keys.map(({ field }) => sortValue(resource, field, related)) };
}

export function sortValue(resource: object, { hops, path }: Field, related: Related): SortValue {
  const owner = hops.reduce<object | undefined>((from, hop) => follow(from, hop, related), resource);
  const value = owner === undefined ? undefined : firstValueAt(owner, path);
  if (typeof value === "string") return value.length > sortedCharacters ? value.slice(0, sortedCharacters) : value;
  return typeof value === "number" || typeof value === "boolean" ? value : null;
}

function follow(from: object | undefined, hop: Hop, related: Related): object | undefined {
  const id = firstValueAt(from, hop.path);
  return typeof id === "string" ? related(hop.kind, id) : undefined;
}

export function comparePlaces(a: Place, b: Place, keys: readonly SortKey[]): number {
  for (let index = 0; index < keys.length; index++) {
    const order = compareValues(a.values[index] ?? null, b.values[index] ?? null);
    if (order !== 0) return order * (keys[index]?.sign ?? 1);
  }
  if (a.id === b.id) return 0;
  return a.id < b.id ? -1 : 1;
}

function compareValues(a: SortValue, b: SortValue): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b ? -1 : 1;
}

/** The first rows after `after`, in order, at most `limit`; and whether there are more. `rows` are in order. */
export function rowsAfter(
  rows: readonly Row[],
  keys: readonly SortKey[],
  after: Place | undefined,
  limit: number,
): { readonly rows: readonly Row[]; readonly hasMore: boolean } {
  const first = after === undefined ? 0 : countUpTo(rows, keys, after);
  return { rows: rows.slice(first, first + limit), hasMore: rows.length > first + limit };
}

/** How many rows are not after the place. */
export function countUpTo(rows: readonly Row[], keys: readonly SortKey[], place: Place): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    if (row !== undefined && comparePlaces(row, place, keys) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** More are taken out and put in at one go. */
const singlyMax = 100;

/** Rows in order without those that are gone (some may not be among them), and with fresh ones, which are in order. Changes `rows`. */
export function replaced(rows: Row[], gone: readonly Row[], fresh: readonly Row[], keys: readonly SortKey[]): Row[] {
  if (gone.length + fresh.length > singlyMax) {
    const all = new Set(gone);
    const kept = rows.filter((row) => !all.has(row));
    return merged(kept, fresh, keys);
  }
  for (const row of gone) {
    const index = countUpTo(rows, keys, row) - 1;
    if (rows[index] === row) rows.splice(index, 1);
  }
  for (const row of fresh) rows.splice(countUpTo(rows, keys, row), 0, row);
  return rows;
}

/** Two lists in order as one. */
function merged(a: readonly Row[], b: readonly Row[], keys: readonly SortKey[]): Row[] {
  const rows: Row[] = [];
  let next = 0;
  for (const row of a) {
    for (let other = b[next]; other !== undefined && comparePlaces(other, row, keys) < 0; other = b[++next]) {
      rows.push(other);
    }
    rows.push(row);
  }
  for (; next < b.length; next++) rows.push(b[next] as Row);
  return rows;
}
