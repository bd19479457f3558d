/**
 * A page of a list. Pages go on after the last shown item's sort key and id, not after a number of items: while others
 * come and go, nothing that stays is shown twice or left out.
 */
import { filterPredicate, type Related, searchText } from "@innkeeper/contract/filter-match.ts";
import { comparePlaces, type Row, rowOf, rowsAfter } from "#management/inventory/list-order.ts";
import { type ListRequest, writeCursor } from "#management/inventory/list-query.ts";

export interface ListPage {
  /** JSON of each. */
  readonly items: readonly string[];
  readonly totalCount: number;
  readonly nextCursor?: string;
  readonly revision: number;
}

/** A page ends before it gets larger than this many characters, whatever its limit, for it is made at one go. */
const pageCharactersMax = 8 * 1024 * 1024;

/** Of resources in any order. */
export function listPage(
  resources: Iterable<{ readonly id: string }>,
  request: ListRequest,
  revision: number,
  related: Related = () => undefined,
): ListPage {
  const { keys, filter, source } = request;
  const matches = filterPredicate(filter, (resource) => searchText(resource, source), related);
  const rows: Row[] = [];
  for (const resource of resources) if (matches(resource)) rows.push(rowOf(resource, keys, related));
  rows.sort((a, b) => comparePlaces(a, b, keys));
  return pageOf(rows, request, revision);
}

/** Of all rows that match, in order. */
export function pageOf(
  rows: readonly Row[],
  request: ListRequest,
  revision: number,
  write: (resource: Row["resource"]) => string = itemWriter(request.fields),
): ListPage {
  const found = rowsAfter(rows, request.keys, request.after, request.limit);
  const items: string[] = [];
  let characters = 0;
  let last: Row | undefined;
  for (const row of found.rows) {
    const item = write(row.resource);
    characters += item.length;
    if (characters > pageCharactersMax && last !== undefined) break;
    items.push(item);
    last = row;
  }
  const hasMore = found.hasMore || items.length < found.rows.length;
  return {
    items,
    totalCount: rows.length,
    ...(last !== undefined && hasMore ? { nextCursor: writeCursor(request.sort, last) } : {}),
    revision,
  };
}

export function pageText({ items, ...rest }: ListPage): string {
  return `{"items":[${items.join(",")}],${JSON.stringify(rest).slice(1)}`;
}

/** Writes one item: the whole resource, or only these paths of it; through arrays, of each element. */
export function itemWriter(fields: readonly string[] | undefined): (resource: object) => string {
  if (fields === undefined) return (resource) => JSON.stringify(resource);
  const shape = shapeOf(["id", ...fields]);
  return (resource) => JSON.stringify(project(resource, shape));
}

/** What is wanted of an object: a part as a whole, or parts of it. */
type Shape = ReadonlyMap<string, Shape | undefined>;

function shapeOf(paths: readonly string[]): Shape {
  const byName = Map.groupBy(paths, (path) => path.split(".", 1)[0] ?? "");
  return new Map(
    [...byName].map(([name, whole]) => {
      const below = whole.map((path) => path.slice(name.length + 1));
      return [name, below.includes("") ? undefined : shapeOf(below)];
    }),
  );
}

function project(value: unknown, shape: Shape | undefined): unknown {
  if (shape === undefined || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => project(each, shape));
  const result: Record<string, unknown> = {};
  for (const [name, below] of shape) {
    if (Object.hasOwn(value, name)) result[name] = project((value as Readonly<Record<string, unknown>>)[name], below);
  }
  return result;
}
