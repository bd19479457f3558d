/**
 * Which resources a filter can match at all, found through the inventory's indexes; each is still to be tested. undefined:
 * the filter does not narrow the list, and all are candidates.
 */
import { filterPredicate } from "@innkeeper/contract/filter-match.ts";
import type { Comparison, Filter } from "@innkeeper/contract/filter.ts";
import type { Inventory } from "#management/inventory/inventory.ts";
import { indexOf, type Resource } from "#management/inventory/resource-index.ts";
import type { ResourceKind } from "#store/port.ts";

export interface Candidates {
  /** At least as many as `list` has. */
  readonly count: number;
  list(): readonly Resource[];
}

type Indexes = Pick<Inventory, "by" | "countBy" | "values" | "get">;

/** Ids of at least those that have a text, in lower case, in the field of that path, or where free text is searched. */
type Having = (text: string, path?: readonly string[]) => ReadonlySet<string> | undefined;

export function candidates(
  inventory: Indexes,
  kind: ResourceKind,
  filter: Filter,
  having: Having = () => undefined,
): Candidates | undefined {
  if (filter.kind === "not") return undefined;
  if (filter.kind === "text") return ofIds(inventory, kind, having(filter.text.toLowerCase()));
  if (filter.kind === "compare") {
    const { field, operator, value } = filter;
    if (operator !== "~" || value === null || field.hops.length > 0) return ofComparison(inventory, kind, filter);
    return ofIds(inventory, kind, having(value.toLowerCase(), field.path));
  }
  const terms = filter.terms.map((term) => candidates(inventory, kind, term, having));
  if (filter.kind === "and") {
    return terms.reduce(
      (best, each) => (best === undefined || (each && each.count < best.count) ? each : best),
      undefined,
    );
  }
  if (terms.includes(undefined)) return undefined;
  const all = terms.filter((each) => each !== undefined);
  return {
    count: all.reduce((sum, { count }) => sum + count, 0),
    list: () => [...new Set(all.flatMap((each) => each.list()))],
  };
}

function ofIds(inventory: Indexes, kind: ResourceKind, ids: ReadonlySet<string> | undefined): Candidates | undefined {
  return ids && { count: ids.size, list: () => [...ids].flatMap((id) => inventory.get(kind, id) ?? []) };
}

function ofComparison(inventory: Indexes, kind: ResourceKind, comparison: Comparison): Candidates | undefined {
  const { field, operator, value } = comparison;
  // What is absent has no place in an index.
  if (value === null || operator === "!=") return undefined;
  const [hop, ...hops] = field.hops;
  const index = indexOf(hop?.path ?? field.path);
  if (index === undefined) return undefined;
  if (hop === undefined) {
    if (operator !== "=") return undefined;
    return { count: inventory.countBy(kind, index, value), list: () => inventory.by(kind, index, value) };
  }
  const owners = ownersOf(inventory, hop.kind, { ...comparison, field: { ...field, hops } });
  return {
    count: owners.reduce((sum, { id }) => sum + inventory.countBy(kind, index, id), 0),
    list: () => owners.flatMap(({ id }) => inventory.by(kind, index, id)),
  };
}

function ownersOf(inventory: Indexes, kind: ResourceKind, comparison: Comparison): Resource[] {
  const found = candidates(inventory, kind, comparison)?.list() ?? [...inventory.values(kind)];
  const related = (of: ResourceKind, id: string) => inventory.get(of, id);
  return found.filter(filterPredicate(comparison, () => "", related));
}
