/**
 * What a filter matches. `=` matches if any element of a list is equal, `!=` if none is; text compares as it is, `~` and
 * free text without regard to case; numbers by size; a field without a value meets only `=null` and `!=`.
 */
import { type FieldSource, firstValueAt, type Hop, someValueAt } from "./field-path.ts";
import type { Comparison, Filter, FilterOperator } from "./filter.ts";
import type { Kind } from "./id.ts";

export type Predicate = (resource: object) => boolean;

/** Finds what a resource belongs to; undefined if it is not known. */
export type Related = (kind: Kind, id: string) => object | undefined;

/**
 * Whether a resource matches. `textOf` is what free text is searched in (`searchText`, which one may remember). What was found
 * through relations is remembered: a predicate is for one moment's resources.
 */
export function filterPredicate(filter: Filter, textOf: (resource: object) => string, related: Related): Predicate {
  switch (filter.kind) {
    case "and":
    case "or":
      return filter.terms
        .map((term) => filterPredicate(term, textOf, related))
        .reduce(filter.kind === "and" ? both : either, () => filter.kind === "and");
    case "not": {
      const term = filterPredicate(filter.term, textOf, related);
      return (resource) => !term(resource);
    }
    case "text": {
      const part = filter.text.toLowerCase();
      return (resource) => textOf(resource).includes(part);
    }
    case "compare":
      return comparisonPredicate(filter, related);
  }
}

const both =
  (one: Predicate, other: Predicate): Predicate =>
  (resource) =>
    one(resource) && other(resource);
const either =
  (one: Predicate, other: Predicate): Predicate =>
  (resource) =>
    one(resource) || other(resource);

/** All that free text is searched in, in lower case. */
export function searchText(resource: object, { text }: FieldSource): string {
  return text.map((field) => fieldText(resource, field.split("."))).join("\n");
}

/** All that `~` is searched in of a field of the resource itself, in lower case. */
export function fieldText(resource: object, path: readonly string[]): string {
  let text = "";
  someValueAt(resource, path, (value) => {
    const part = searchable(value);
    if (part !== undefined) text += text === "" ? part : `\n${part}`;
    return false;
  });
  return text;
}

function searchable(value: unknown): string | undefined {
  if (typeof value === "string") return value.toLowerCase();
  return typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}

function comparisonPredicate({ field, operator, value }: Comparison, related: Related): Predicate {
  const { path } = field;
  const isNegative = (operator === "!=") !== (value === null);
  const test = valueTest(operator, value);
  const own: Predicate = (resource) => someValueAt(resource, path, test) !== isNegative;
  return field.hops.reduceRight<Predicate>((last, hop) => throughHop(hop, last, isNegative, related), own);
}

/** Of the resource that this one belongs to. There are far fewer of those: each is asked once. */
function throughHop(hop: Hop, predicate: Predicate, ifAbsent: boolean, related: Related): Predicate {
  const known = new Map<string, boolean>();
  return (resource) => {
    const id = firstValueAt(resource, hop.path);
    if (typeof id !== "string") return ifAbsent;
    const before = known.get(id);
    if (before !== undefined) return before;
    const owner = related(hop.kind, id);
    const result = owner === undefined ? ifAbsent : predicate(owner);
    known.set(id, result);
    return result;
  };
}

/** Of one value of the field. With `!=` and with null it is the opposite: none may pass. */
function valueTest(operator: FilterOperator, wanted: string | null): (value: unknown) => boolean {
  if (wanted === null) return (value) => value !== null;
  if (operator === "~") return containing(wanted);
  const number = wanted.trim() === "" ? Number.NaN : Number(wanted);
  if (operator === "=" || operator === "!=") {
    return (value) => {
      if (typeof value === "string") return value === wanted;
      return typeof value === "number" ? value === number : typeof value === "boolean" && String(value) === wanted;
    };
  }
  const isOrdered = { "<": below, "<=": notAbove, ">": above, ">=": notBelow }[operator];
  return (value) => {
    if (typeof value === "number") return isOrdered(value, number);
    return typeof value === "string" && isOrdered(value, wanted);
  };
}

type Ordered = <T extends string | number>(a: T, b: T) => boolean;
const below: Ordered = (a, b) => a < b;
const notAbove: Ordered = (a, b) => a <= b;
const above: Ordered = (a, b) => a > b;
const notBelow: Ordered = (a, b) => a >= b;

function containing(text: string): (value: unknown) => boolean {
  const part = text.toLowerCase();
  return (value) => searchable(value)?.includes(part) === true;
}
