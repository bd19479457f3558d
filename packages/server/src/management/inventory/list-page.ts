/**
 * A page of a list: filter, sort, chosen fields. Pages go on after the last shown item's sort key and id, not after a
 * number of items: while others come and go, nothing that stays is shown twice or left out.
 */
import type { TSchema } from "typebox";
import { pageLimitDefault, type ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import { fieldType, valuesAt } from "@innkeeper/contract/field-path.ts";
import { type FilterClause, FilterError, matchesFilter, parseFilter } from "@innkeeper/contract/filter.ts";
import { AppError } from "#core/app-error.ts";

export interface ListPage {
  readonly items: readonly object[];
  readonly totalCount: number;
  readonly nextCursor?: string;
  readonly revision: number;
}

export interface ListOptions {
  /** Of one listed resource. */
  readonly schema: TSchema;
  readonly defaultSort: string;
  readonly revision: number;
}

type SortValue = string | number | boolean | null;
interface SortKey {
  readonly path: string;
  readonly sign: 1 | -1;
}
interface Row {
  readonly resource: { readonly id: string };
  readonly values: readonly SortValue[];
}
interface Cursor {
  readonly sort: string;
  readonly values: readonly SortValue[];
  readonly id: string;
}

/** As many characters of a text decide its place; equal ones are in the order of their ids. Bounds the cursor's size. */
const sortedCharacters = 100;
const sortKeysMax = 4;

/** AppErrors: invalid_field for `filter`, `sort`, `fields`, `cursor`. */
export function listPage(
  resources: readonly { readonly id: string }[],
  query: ListQuery,
  options: ListOptions,
): ListPage {
  const { schema } = options;
  const clauses = readFilter(query.filter ?? "", schema);
  const sort = query.sort ?? options.defaultSort;
  const keys = readSort(sort, schema);
  const fields = query.fields === undefined ? undefined : readFields(query.fields, schema);
  const rows = resources
    .filter((resource) => matchesFilter(resource, clauses))
    .map((resource) => ({ resource, values: keys.map((key) => sortValue(resource, key.path)) }));
  const order = (a: Row, b: Row): number => compareRows(a.values, a.resource.id, b.values, b.resource.id, keys);
  const cursor = query.cursor === undefined ? undefined : readCursor(query.cursor, sort, keys.length);
  const left =
    cursor === undefined
      ? rows
      : rows.filter((row) => compareRows(row.values, row.resource.id, cursor.values, cursor.id, keys) > 0);
  const limit = query.limit ?? pageLimitDefault;
  const page = left.sort(order).slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(({ resource }) => (fields === undefined ? resource : project(resource, ["id", ...fields]))),
    totalCount: rows.length,
    ...(last !== undefined && left.length > limit
      ? { nextCursor: writeCursor({ sort, values: last.values, id: last.resource.id }) }
      : {}),
    revision: options.revision,
  };
}

function readFilter(text: string, schema: TSchema): FilterClause[] {
  try {
    return parseFilter(text, schema);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new AppError("invalid_field", `${error.message}.`, {
      field: "filter",
      fault: { position: error.position, ...(error.field === undefined ? {} : { field: error.field }) },
    });
  }
}

function readSort(text: string, schema: TSchema): SortKey[] {
  const keys = text.split(",").map((part): SortKey => {
    const path = part.replace(/^-/, "");
    if (fieldType(schema, path) === undefined) {
      throw new AppError("invalid_field", `There is no field ${JSON.stringify(path)} to sort by.`, { field: "sort" });
    }
    return { path, sign: part.startsWith("-") ? -1 : 1 };
  });
  if (keys.length <= sortKeysMax) return keys;
  throw new AppError("invalid_field", `A list is sorted by at most ${sortKeysMax} fields.`, { field: "sort" });
}

function readFields(text: string, schema: TSchema): string[] {
  const fields = text.split(",");
  const unknown = fields.find((field) => fieldType(schema, field) === undefined);
  if (unknown === undefined) return fields;
  throw new AppError("invalid_field", `There is no field ${JSON.stringify(unknown)}.`, { field: "fields" });
}

function sortValue(resource: unknown, path: string): SortValue {
  const [value] = valuesAt(resource, path);
  if (typeof value === "string") return value.slice(0, sortedCharacters);
  return typeof value === "number" || typeof value === "boolean" ? value : null;
}

function compareRows(
  aValues: readonly SortValue[],
  aId: string,
  bValues: readonly SortValue[],
  bId: string,
  keys: readonly SortKey[],
): number {
  for (const [index, key] of keys.entries()) {
    const order = compareValues(aValues[index] ?? null, bValues[index] ?? null);
    if (order !== 0) return order * key.sign;
  }
  if (aId === bId) return 0;
  return aId < bId ? -1 : 1;
}

/** What has no value comes last. */
function compareValues(a: SortValue, b: SortValue): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b ? -1 : 1;
}

function writeCursor(cursor: Cursor): string {
  return Buffer.from(JSON.stringify(cursor)).toString("base64url");
}

function readCursor(text: string, sort: string, keyCount: number): Cursor {
  try {
    const cursor = JSON.parse(Buffer.from(text, "base64url").toString()) as Partial<Cursor>;
    const { values, id } = cursor;
    if (cursor.sort === sort && typeof id === "string" && Array.isArray(values) && values.length === keyCount) {
      return { sort, values, id };
    }
  } catch {
    // falls through to the refusal
  }
  throw new AppError("invalid_field", "The cursor is none of this list's, or of another sort order.", {
    field: "cursor",
    remedy: "Begin again without a cursor.",
  });
}

/** Only these paths of a resource; through arrays, of each element. */
function project(resource: object, paths: readonly string[]): object {
  const byName = Map.groupBy(paths, (path) => path.split(".", 1)[0] ?? "");
  const result: Record<string, unknown> = {};
  for (const [name, below] of byName) {
    if (!Object.hasOwn(resource, name)) continue;
    const value: unknown = (resource as Readonly<Record<string, unknown>>)[name];
    const rest = below.map((path) => path.slice(name.length + 1));
    result[name] = rest.includes("") ? value : projectValue(value, rest);
  }
  return result;
}

function projectValue(value: unknown, paths: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((each) => projectValue(each, paths));
  return typeof value === "object" && value !== null ? project(value, paths) : value;
}
