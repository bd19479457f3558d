/** What a list is asked for, read against the fields of its resources. AppErrors: invalid_field for each part of the query. */
import { pageLimitDefault, type ListQuery } from "@innkeeper/contract/endpoint/endpoint.ts";
import { type FieldSource, fieldType, findField } from "@innkeeper/contract/field-path.ts";
import { type Filter, FilterError, filterFields, parseFilter } from "@innkeeper/contract/filter.ts";
import type { Kind } from "@innkeeper/contract/id.ts";
import { resourceTable } from "@innkeeper/contract/resource/table.ts";
import { AppError } from "#core/app-error.ts";
import type { Place, SortKey } from "#management/inventory/list-order.ts";

export interface ListRequest {
  readonly source: FieldSource;
  readonly filter: Filter;
  /** As it was written: those of the same text are the same filter. */
  readonly filterText: string;
  readonly sort: string;
  readonly keys: readonly SortKey[];
  /** Absent: the whole resource. */
  readonly fields?: readonly string[];
  readonly after?: Place;
  readonly limit: number;
}

/** The other kinds that a filter or sort order asks about. */
export function relatedKinds({ filter, keys }: Pick<ListRequest, "filter" | "keys">): Set<Kind> {
  const fields = [...filterFields(filter), ...keys.map(({ field }) => field)];
  return new Set(fields.flatMap(({ hops }) => hops.map(({ kind }) => kind)));
}

const sortKeysMax = 4;

export function readListQuery(query: ListQuery, source: FieldSource, defaultSort: string): ListRequest {
  const filterText = query.filter ?? "";
  const sort = query.sort ?? defaultSort;
  const keys = readSort(sort, source);
  return {
    source,
    filterText,
    filter: readFilter(filterText, source),
    sort,
    keys,
    ...(query.fields === undefined ? {} : { fields: readFields(query.fields, source) }),
    ...(query.cursor === undefined ? {} : { after: readCursor(query.cursor, sort, keys.length) }),
    limit: query.limit ?? pageLimitDefault,
  };
}

export function readFilter(text: string, source: FieldSource): Filter {
  try {
    return parseFilter(text, source);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    const { position, expected, field } = error;
    throw new AppError("invalid_field", `${error.message}.`, {
      field: "filter",
      remedy: "See docs/filter.md, or `inn help filter`.",
      fault: { position, expected, ...(field === undefined ? {} : { field }) },
    });
  }
}

function readSort(text: string, source: FieldSource): SortKey[] {
  const keys = text.split(",").map((part): SortKey => {
    const name = part.replace(/^-/, "");
    const field = findField(source, resourceTable, name);
    if (field === undefined) {
      throw new AppError("invalid_field", `There is no field ${JSON.stringify(name)} to sort by.`, { field: "sort" });
    }
    return { field, sign: part.startsWith("-") ? -1 : 1 };
  });
  if (keys.length <= sortKeysMax) return keys;
  throw new AppError("invalid_field", `A list is sorted by at most ${sortKeysMax} fields.`, { field: "sort" });
}

function readFields(text: string, { schema }: FieldSource): string[] {
  const fields = text.split(",");
  const unknown = fields.find((field) => fieldType(schema, field) === undefined);
  if (unknown === undefined) return fields;
  throw new AppError("invalid_field", `There is no field ${JSON.stringify(unknown)}.`, { field: "fields" });
}

export function writeCursor(sort: string, { id, values }: Place): string {
  return Buffer.from(JSON.stringify({ sort, values, id })).toString("base64url");
}

function readCursor(text: string, sort: string, keyCount: number): Place {
  try {
    const cursor = JSON.parse(Buffer.from(text, "base64url").toString()) as Partial<Place & { sort: string }>;
    const { values, id } = cursor;
    if (cursor.sort === sort && typeof id === "string" && Array.isArray(values) && values.length === keyCount) {
      return { values, id };
    }
  } catch {
    // falls through to the refusal
  }
  throw new AppError("invalid_field", "The cursor is none of this list's, or of another sort order.", {
    field: "cursor",
    remedy: "Begin again without a cursor.",
  });
}
