// virTypedParameter lists (libvirt-common.h, remote_protocol.x remote_typed_param) as plain objects.
// Reading: int and uint are numbers, llong and ullong bigints, double a number, boolean, string; a name that occurs more
// than once has an array of its values. Writing: libvirt refuses a parameter of another type than its driver expects, so
// the type is taken, in this order, from typed.*(), from the table of well-known parameters, from the JavaScript value.
import { parameterTypes } from "#generated/parameter-type.ts";
import { CodecError } from "./codec-error.ts";
import { describe } from "./xdr-writer.ts";
import type { TypedParameterType } from "./typed-parameter-type.ts";
import type { XdrReader } from "./xdr-reader.ts";
import type { XdrWriter } from "./xdr-writer.ts";

export type TypedParameterScalar = number | bigint | boolean | string;

/** A value with libvirt's type, for parameters that the table of well-known ones lacks. */
export class TypedValue {
  readonly type: TypedParameterType;
  readonly value: TypedParameterScalar;

  constructor(type: TypedParameterType, value: TypedParameterScalar) {
    this.type = type;
    this.value = value;
  }
}

export type TypedParameterValue = TypedParameterScalar | readonly TypedParameterScalar[];
/** As read. What is written may hold TypedValue too: see TypedParameterInput. */
export type TypedParameters = Readonly<Record<string, TypedParameterValue>>;
export type TypedParameterInput = Readonly<
  Record<string, TypedParameterScalar | TypedValue | readonly (TypedParameterScalar | TypedValue)[] | undefined>
>;

export const typed = {
  int: (value: number): TypedValue => new TypedValue("int", value),
  uint: (value: number): TypedValue => new TypedValue("uint", value),
  llong: (value: bigint | number): TypedValue => new TypedValue("llong", value),
  ullong: (value: bigint | number): TypedValue => new TypedValue("ullong", value),
  double: (value: number): TypedValue => new TypedValue("double", value),
  boolean: (value: boolean): TypedValue => new TypedValue("boolean", value),
  string: (value: string): TypedValue => new TypedValue("string", value),
};

/** virTypedParameterType (libvirt-common.h): number on the wire is the index. */
const TYPES: readonly (TypedParameterType | null)[] = [
  null,
  "int",
  "uint",
  "llong",
  "ullong",
  "double",
  "boolean",
  "string",
];
/** VIR_TYPED_PARAM_FIELD_LENGTH, with its final NUL. */
const NAME_MAX = 79;
const STRING_MAX = 4_194_304;
/** Least bytes of one parameter: name length, type, a value of four bytes. */
const LEAST = 12;

export function readTypedParameters(reader: XdrReader, limit: number): TypedParameters {
  const count = reader.length(limit, LEAST);
  const out: Record<string, TypedParameterScalar | TypedParameterScalar[]> = {};
  for (let index = 0; index < count; index += 1) {
    const name = reader.string(NAME_MAX);
    const value = readValue(reader, name);
    if (name === "__proto__") throw new CodecError("a parameter named __proto__");
    const previous = out[name];
    if (previous === undefined || !Object.hasOwn(out, name)) out[name] = value;
    else if (Array.isArray(previous)) previous.push(value);
    else out[name] = [previous, value];
  }
  return out;
}

function readValue(reader: XdrReader, name: string): TypedParameterScalar {
  const type = reader.int();
  switch (type) {
    case 1:
      return reader.int();
    case 2:
      return reader.uint();
    case 3:
      return reader.hyper();
    case 4:
      return reader.uhyper();
    case 5:
      return reader.double();
    case 6:
      return reader.int() !== 0;
    case 7:
      return reader.string(STRING_MAX);
    default:
      throw new CodecError(`parameter ${JSON.stringify(name)} of unknown type ${type}`);
  }
}

export function writeTypedParameters(writer: XdrWriter, input: unknown, limit: number): void {
  if (typeof input !== "object" || input === null || Array.isArray(input))
    throw new CodecError(`an object of parameters is needed, not ${describe(input)}`);
  const entries: [string, unknown][] = [];
  for (const [name, value] of Object.entries(input)) {
    if (Array.isArray(value)) for (const each of value) entries.push([name, each]);
    else if (value !== undefined) entries.push([name, value]);
  }
  writer.length(entries.length, limit);
  for (const [name, value] of entries) {
    try {
      writer.string(name, NAME_MAX);
      if (value instanceof TypedValue) writeValue(writer, value.type, value.value);
      else writeValue(writer, parameterTypes[name] ?? inferred(value), value);
    } catch (error) {
      throw error instanceof CodecError ? error.within(name) : error;
    }
  }
}

/** For a parameter nobody knows: bigint is ullong (llong below 0), an integer number int (llong when too big). */
function inferred(value: unknown): TypedParameterType {
  switch (typeof value) {
    case "bigint":
      return value < 0n ? "llong" : "ullong";
    case "number":
      if (!Number.isInteger(value)) return "double";
      return value > 0x7fffffff || value < -0x80000000 ? "llong" : "int";
    case "boolean":
      return "boolean";
    case "string":
      return "string";
    default:
      throw new CodecError(`not a parameter value: ${describe(value)}`);
  }
}

function writeValue(writer: XdrWriter, type: TypedParameterType, value: unknown): void {
  writer.int(TYPES.indexOf(type));
  switch (type) {
    case "int":
      return writer.int(narrow(value));
    case "uint":
      return writer.uint(narrow(value));
    case "llong":
      return writer.hyper(widen(value));
    case "ullong":
      return writer.uhyper(widen(value));
    case "double":
      return writer.double(value);
    case "boolean":
      if (typeof value !== "boolean") throw new CodecError(`a boolean is needed, not ${describe(value)}`);
      return writer.int(value ? 1 : 0);
    case "string":
      return writer.string(value, STRING_MAX);
  }
}

/** The parameter's type is known from the table, so a number and a bigint of the same value mean the same. */
function widen(value: unknown): unknown {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}

function narrow(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
