/**
 * The filter of lists: `field=value`, `!=`, `<`, `<=`, `>`, `>=`, `~` (contains), joined by `and`. Fields are dotted paths; a path
 * through an array matches if any element does (`tags=web`, `spec.nics.network=default`), and `!=` if none is equal.
 * A value with white space, quotes or operators is written in double quotes, with `\"` and `\\`. `null` is a field
 * that has no value. Strings compare as they are, `~` without regard to case; numbers by size.
 */
import type { TSchema } from "typebox";
import { fieldType, valuesAt } from "./field-path.ts";

export const filterOperators = ["!=", "<=", ">=", "=", "<", ">", "~"] as const;
export type FilterOperator = (typeof filterOperators)[number];

export interface FilterClause {
  readonly field: string;
  readonly operator: FilterOperator;
  readonly value: string;
}

/** The filter can't be read. `position` counts characters from 0; `field` is the field at fault where one was named. */
export class FilterError extends Error {
  override readonly name = "FilterError";
  readonly position: number;
  readonly field: string | undefined;

  constructor(message: string, position: number, field?: string) {
    super(`${message} (at character ${position + 1} of the filter)`);
    this.position = position;
    this.field = field;
  }
}

const fieldPattern = /[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)*/y;
const operatorPattern = /!=|<=|>=|=|<|>|~/y;
const quotedPattern = /"((?:[^"\\]|\\["\\])*)"/y;
const barePattern = /[^\s"]+/y;
const spacePattern = /\s*/y;
const andPattern = /and(?=\s)/iy;

/** Reads a filter. With the schema of the listed resources, unknown fields and numbers that are none are refused. */
export function parseFilter(text: string, schema?: TSchema): FilterClause[] {
  const reader = new Reader(text);
  const clauses: FilterClause[] = [];
  reader.take(spacePattern);
  if (reader.atEnd) return [];
  for (;;) {
    clauses.push(readClause(reader, schema));
    const hadSpace = reader.take(spacePattern) !== "";
    if (reader.atEnd) return clauses;
    if (!hadSpace || reader.take(andPattern) === undefined) {
      throw new FilterError("Expected `and` between two conditions", reader.position);
    }
    reader.take(spacePattern);
  }
}

function readClause(reader: Reader, schema: TSchema | undefined): FilterClause {
  const start = reader.position;
  const field = reader.take(fieldPattern);
  if (field === undefined) throw new FilterError("Expected the name of a field", start);
  const type = schema && fieldType(schema, field);
  if (schema !== undefined && type === undefined) {
    throw new FilterError(`There is no field ${JSON.stringify(field)}`, start, field);
  }
  reader.take(spacePattern);
  const operator = reader.take(operatorPattern) as FilterOperator | undefined;
  if (operator === undefined) {
    throw new FilterError(`Expected one of ${filterOperators.join(" ")}`, reader.position, field);
  }
  reader.take(spacePattern);
  const valueStart = reader.position;
  const quoted = reader.take(quotedPattern);
  const value = quoted === undefined ? reader.take(barePattern) : quoted.slice(1, -1).replace(/\\(["\\])/g, "$1");
  if (value === undefined) {
    const message = reader.next === '"' ? "A quoted value does not end" : "Expected a value";
    throw new FilterError(message, valueStart, field);
  }
  if (type === "number" && operator !== "~" && value !== "null" && !isNumber(value)) {
    throw new FilterError(`${field} is a number; ${JSON.stringify(value)} is none`, valueStart, field);
  }
  return { field, operator, value };
}

/** Whether a resource meets every condition. */
export function matchesFilter(resource: unknown, clauses: readonly FilterClause[]): boolean {
  return clauses.every((clause) => matches(valuesAt(resource, clause.field), clause));
}

function matches(values: readonly unknown[], clause: FilterClause): boolean {
  const { operator, value: wanted } = clause;
  const equal = (): boolean =>
    wanted === "null"
      ? values.every((value) => value === null) || values.includes("null")
      : values.some((value) => value !== null && compare(value, wanted) === 0);
  if (operator === "=") return equal();
  if (operator === "!=") return !equal();
  if (operator === "~") {
    const part = wanted.toLowerCase();
    return values.some((value) => isScalar(value) && String(value).toLowerCase().includes(part));
  }
  return values.some((value) => {
    if (value === null || !isScalar(value)) return false;
    const order = compare(value, wanted);
    if (order === undefined) return false;
    if (operator === "<") return order < 0;
    if (operator === "<=") return order <= 0;
    return operator === ">" ? order > 0 : order >= 0;
  });
}

function compare(value: unknown, wanted: string): number | undefined {
  if (typeof value === "number") return isNumber(wanted) ? value - Number(wanted) : undefined;
  if (!isScalar(value)) return undefined;
  const text = String(value);
  if (text === wanted) return 0;
  return text < wanted ? -1 : 1;
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

function isNumber(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
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
}
