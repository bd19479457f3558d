/**
 * The filter of lists, one language for API, CLI and browser (docs/filter.md):
 *
 *     filter    = term *( "or" term )            term = factor *( [ "and" ] factor )
 *     factor    = "not" factor / "(" filter ")" / field operator value / "tag:" value / text
 *     operator  = "=" / "!=" / "<" / "<=" / ">" / ">=" / "~"
 *
 * A value or text with white space, quotes or parentheses stands in double quotes, with `\"` and `\\`. `and` may be left out
 * after free text alone: after a value it would hide a forgotten quote. Reading is strict: an unknown field, a number that
 * is none, a state that no VM has are refused, with the place and what was expected there. filter-match.ts evaluates.
 */
import { type Field, fieldNames, type FieldSource, findField } from "./field-path.ts";
import { resourceTable } from "./resource/table.ts";

export const filterOperators = ["!=", "<=", ">=", "=", "<", ">", "~"] as const;
export type FilterOperator = (typeof filterOperators)[number];

export interface Comparison {
  readonly kind: "compare";
  readonly field: Field;
  readonly operator: FilterOperator;
  /** null: the field has no value (`null`, not in quotes). */
  readonly value: string | null;
}

/** An empty filter is `and` of nothing: everything matches. */
export type Filter =
  | { readonly kind: "and" | "or"; readonly terms: readonly Filter[] }
  | { readonly kind: "not"; readonly term: Filter }
  | { readonly kind: "text"; readonly text: string }
  | Comparison;

/** The filter can't be read. `position` counts characters (UTF-16) from 0; `field` is the field at fault where one was named. */
export class FilterError extends Error {
  override readonly name = "FilterError";
  readonly position: number;
  /** Words that could stand there. */
  readonly expected: readonly string[];
  readonly field: string | undefined;

  constructor(message: string, position: number, expected: readonly string[] = [], field?: string) {
    super(`${message} (at character ${position + 1} of the filter)`);
    this.position = position;
    this.expected = expected;
    this.field = field;
  }
}

const spacePattern = /\s*/y;
const fieldPattern = /[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)*(?=\s*[=!<>~])/y;
const operatorPattern = /!=|<=|>=|=|<|>|~/y;
const quotedPattern = /"((?:[^"\\]|\\["\\])*)"/y;
const valuePattern = /[^\s"()]+/y;
const textPattern = /[^\s"()=!<>~]+/y;
const tagPattern = /tag:/iy;
const wordPattern = { and: /and(?![^\s"()])/iy, or: /or(?![^\s"()])/iy, not: /not(?![^\s"()])/iy };
const openPattern = /\(/y;
const closePattern = /\)/y;

/** Far above what people write; bounds the recursion. */
const depthMax = 50;

const beginnings = ["a field", "not", "(", "tag:", "text"];

/** Reads a filter of a list of these resources. Throws FilterError. */
export function parseFilter(text: string, source: FieldSource): Filter {
  const reader = new Reader(text);
  reader.take(spacePattern);
  if (reader.atEnd) return { kind: "and", terms: [] };
  const filter = readAlternatives(reader, source, 0);
  if (!reader.atEnd) {
    const what = reader.next === ")" ? "This parenthesis closes none" : "Expected `and`, `or`, or the end";
    throw new FilterError(what, reader.position, reader.next === ")" ? [] : ["and", "or"]);
  }
  return filter;
}

/** Every field that a filter asks for. */
export function filterFields(filter: Filter): Field[] {
  if (filter.kind === "text") return [];
  if (filter.kind === "compare") return [filter.field];
  return filter.kind === "not" ? filterFields(filter.term) : filter.terms.flatMap(filterFields);
}

function readAlternatives(reader: Reader, source: FieldSource, depth: number): Filter {
  const terms = [readConjunction(reader, source, depth)];
  while (reader.word("or")) terms.push(readConjunction(reader, source, depth));
  return joined("or", terms);
}

function readConjunction(reader: Reader, source: FieldSource, depth: number): Filter {
  const terms = [readFactor(reader, source, depth)];
  for (;;) {
    const isAfterText = terms.at(-1)?.kind === "text" && !reader.atEnd && reader.next !== ")" && !reader.sees("or");
    if (!reader.word("and") && !isAfterText) return joined("and", terms);
    terms.push(readFactor(reader, source, depth));
  }
}

function joined(kind: "and" | "or", terms: readonly Filter[]): Filter {
  const [only, ...others] = terms;
  return only !== undefined && others.length === 0 ? only : { kind, terms };
}

function readFactor(reader: Reader, source: FieldSource, depth: number): Filter {
  if (depth > depthMax) throw new FilterError(`More than ${depthMax} levels of parentheses`, reader.position);
  const start = reader.position;
  const field = reader.take(fieldPattern);
  if (field !== undefined) return readComparison(reader, source, field, start);
  if (reader.word("not")) return { kind: "not", term: readFactor(reader, source, depth + 1) };
  if (reader.take(openPattern) !== undefined) {
    reader.take(spacePattern);
    const inner = readAlternatives(reader, source, depth + 1);
    if (reader.take(closePattern) === undefined) {
      const isOpen = reader.atEnd;
      const what = isOpen ? "This parenthesis is not closed" : "Expected `and`, `or`, or `)`";
      throw new FilterError(what, isOpen ? start : reader.position, ["and", "or", ")"]);
    }
    reader.take(spacePattern);
    return inner;
  }
  if (reader.take(tagPattern) !== undefined) return readTag(reader, source, start);
  const text = reader.sees("and") || reader.sees("or") ? undefined : (readQuoted(reader) ?? reader.take(textPattern));
  if (text === undefined || text === "") {
    throw new FilterError("Expected a condition, such as state=running, or text to search for", start, beginnings);
  }
  reader.take(spacePattern);
  if (/[=!<>~]/.test(reader.next)) {
    throw new FilterError(`${JSON.stringify(text)} is no name of a field`, start, ["a field"], text);
  }
  return { kind: "text", text };
}

function readTag(reader: Reader, source: FieldSource, start: number): Comparison {
  const field = findField(source, resourceTable, "tag");
  if (field === undefined) throw new FilterError("There are no tags here", start, [], "tag");
  return { kind: "compare", field, operator: "=", value: readValue(reader, "tag").text };
}

function readComparison(reader: Reader, source: FieldSource, name: string, start: number): Comparison {
  const field = findField(source, resourceTable, name);
  if (field === undefined) throw unknownField(source, name, start);
  reader.take(spacePattern);
  const operator = reader.take(operatorPattern) as FilterOperator | undefined;
  if (operator === undefined) {
    throw new FilterError(`Expected one of ${filterOperators.join(" ")}`, reader.position, filterOperators, name);
  }
  reader.take(spacePattern);
  const position = reader.position;
  const { text, isQuoted } = readValue(reader, name);
  const isEquality = operator === "=" || operator === "!=";
  const value = text === "null" && !isQuoted && isEquality ? null : text;
  if (value !== null) checkValue(field, operator, value, position);
  return { kind: "compare", field, operator, value };
}

function checkValue(field: Field, operator: FilterOperator, value: string, position: number): void {
  const { name, type, values } = field;
  if (operator === "~") return;
  if (type === "number" && (value.trim() === "" || !Number.isFinite(Number(value)))) {
    throw new FilterError(`${name} is a number; ${JSON.stringify(value)} is none`, position, ["a number"], name);
  }
  if (values === undefined || values.includes(value) || (operator !== "=" && operator !== "!=")) return;
  const list = values.length > 12 ? closest(value, values) : values;
  const which = list.length === 0 ? "" : `: it is ${list.join(", ")}`;
  throw new FilterError(`${name} is never ${JSON.stringify(value)}${which}`, position, list, name);
}

function readValue(reader: Reader, name: string): { readonly text: string; readonly isQuoted: boolean } {
  const start = reader.position;
  const quoted = readQuoted(reader);
  const text = quoted ?? reader.take(valuePattern);
  if (text === undefined) throw new FilterError("Expected a value", start, ["a value"], name);
  // What follows at once would be read as something else.
  if (!reader.atEnd && !/[\s)]/.test(reader.next)) {
    throw new FilterError("Put a value with quotes or parentheses in double quotes", reader.position, [" "], name);
  }
  reader.take(spacePattern);
  return { text, isQuoted: quoted !== undefined };
}

function readQuoted(reader: Reader): string | undefined {
  if (reader.next !== '"') return undefined;
  const start = reader.position;
  const quoted = reader.take(quotedPattern);
  if (quoted === undefined) throw new FilterError("The quotes are not closed", start, ['"']);
  return quoted.slice(1, -1).replace(/\\(["\\])/g, "$1");
}

function unknownField(source: FieldSource, name: string, position: number): FilterError {
  const likely = closest(name, fieldNames(source));
  const hint = likely.length === 0 ? "" : `; did you mean ${likely.join(", ")}?`;
  return new FilterError(`There is no field ${JSON.stringify(name)}${hint}`, position, likely, name);
}

/** At most five that may have been meant: the same ending, or few letters apart. */
function closest(word: string, candidates: readonly string[]): string[] {
  const lower = word.toLowerCase();
  const last = lower.split(".").at(-1) ?? "";
  return candidates
    .map((name) => {
      const other = name.toLowerCase();
      const sameEnd = other === last || other.endsWith(`.${last}`);
      return { name, distance: sameEnd ? 0 : distance(lower, other) };
    })
    .filter(({ distance }) => distance <= Math.max(1, Math.floor(word.length / 3)))
    .toSorted((a, b) => a.distance - b.distance || a.name.length - b.name.length)
    .slice(0, 5)
    .map(({ name }) => name);
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

class Reader {
  readonly #text: string;
  position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.#text.length;
  }

  get next(): string {
    return this.#text.charAt(this.position);
  }

  /** What a sticky pattern matches here, moving behind it. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position;
    const [match] = pattern.exec(this.#text) ?? [];
    if (match !== undefined) this.position += match.length;
    return match;
  }

  sees(word: keyof typeof wordPattern): boolean {
    const pattern = wordPattern[word];
    pattern.lastIndex = this.position;
    return pattern.test(this.#text);
  }

  /** Takes a word, and the white space after it. */
  word(word: keyof typeof wordPattern): boolean {
    if (this.take(wordPattern[word]) === undefined) return false;
    this.take(spacePattern);
    return true;
  }
}
