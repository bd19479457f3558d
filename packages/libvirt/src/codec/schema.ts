// Compiles the one-line schemas of src/generated/*-schema.ts into types that the decoder and encoder walk. A struct is
// compiled when it is first used, so that the hundreds that a program never needs cost nothing.
//
// Notation: a struct is "name:type name:type …"; a union is "switch 1=type 2=type …" (its value is { case, value }).
// A type is a base and suffixes: base int uint hyper uhyper short ushort char uchar bool float double void uuid string
// params opaque text bytes or a struct's name; string, opaque, text, bytes and params take their limit first (<N> at
// most N, [N] exactly N); then <N> array of at most N, [N] array of N, ? optional, =0 zero when the field is left out.
import { CodecError } from "./codec-error.ts";

export const KIND = {
  int: 0,
  uint: 1,
  hyper: 2,
  uhyper: 3,
  short: 4,
  ushort: 5,
  char: 6,
  uchar: 7,
  bool: 8,
  float: 9,
  double: 10,
  void: 11,
  string: 12,
  uuid: 13,
  opaque: 14,
  fixedOpaque: 15,
  text: 16,
  fixedText: 17,
  bytes: 18,
  params: 19,
  struct: 20,
  union: 21,
  optional: 22,
  array: 23,
  fixedArray: 24,
} as const;

/** remote_nonnull_string: REMOTE_STRING_MAX of remote_protocol.x. */
const STRING_MAX = 4_194_304;

export interface FieldType {
  readonly kind: number;
  /** Most bytes, characters or elements; exactly that many for the fixed kinds. */
  readonly limit: number;
  /** Fewest bytes on the wire; what a hostile element count is held against. */
  readonly minimum: number;
  readonly element: FieldType | null;
  readonly struct: StructType | null;
  readonly union: ReadonlyMap<number, FieldType> | null;
  readonly isZeroDefault: boolean;
}

export interface StructType {
  readonly name: string;
  readonly names: readonly string[];
  readonly types: readonly FieldType[];
}

const WIDTH: readonly number[] = [4, 4, 8, 8, 4, 4, 4, 4, 4, 4, 8, 0];
const KIND_BY_NAME = new Map<string, number>(Object.entries(KIND).slice(0, 12));
const LIMITED = new Map<string, readonly [variable: number, fixed: number]>([
  ["string", [KIND.string, -1]],
  ["opaque", [KIND.opaque, KIND.fixedOpaque]],
  ["text", [KIND.text, KIND.fixedText]],
  ["bytes", [KIND.bytes, -1]],
  ["params", [KIND.params, -1]],
]);

export class Schema {
  readonly #sources: ReadonlyMap<string, string>;
  readonly #compiled = new Map<string, FieldType>();

  constructor(...sources: readonly Readonly<Record<string, string>>[]) {
    this.#sources = new Map(sources.flatMap((source) => Object.entries(source)));
  }

  has(name: string): boolean {
    return this.#sources.has(name);
  }

  type(name: string): FieldType {
    const known = this.#compiled.get(name);
    if (known !== undefined) return known;
    const source = this.#sources.get(name);
    if (source === undefined) throw new CodecError(`no struct ${name}`);
    const type = source.startsWith("switch ") ? this.#union(source) : this.#struct(name, source);
    this.#compiled.set(name, type);
    return type;
  }

  #struct(name: string, source: string): FieldType {
    const names: string[] = [];
    const types: FieldType[] = [];
    for (const field of source === "" ? [] : source.split(" ")) {
      const colon = field.indexOf(":");
      names.push(field.slice(0, colon));
      types.push(this.#field(field.slice(colon + 1)));
    }
    const minimum = types.reduce((sum, type) => sum + type.minimum, 0);
    return node({ kind: KIND.struct, minimum, struct: { name, names, types } });
  }

  #union(source: string): FieldType {
    const arms = new Map<number, FieldType>();
    for (const arm of source.split(" ").slice(1)) {
      const equals = arm.indexOf("=");
      arms.set(Number(arm.slice(0, equals)), this.#field(arm.slice(equals + 1)));
    }
    return node({ kind: KIND.union, minimum: 4, union: arms });
  }

  #field(text: string): FieldType {
    const match = /^(\w+)(.*)$/u.exec(text);
    const [, base = "", suffixes = ""] = match ?? [];
    let rest = suffixes;
    const limit = (): readonly [size: number, isFixed: boolean] | null => {
      const bound = /^(?:<(\d+)>|\[(\d+)\])/u.exec(rest);
      if (bound === null) return null;
      rest = rest.slice(bound[0].length);
      return [Number(bound[1] ?? bound[2]), bound[2] !== undefined];
    };
    let type = this.#base(base, limit);
    while (rest !== "") {
      if (rest.startsWith("?")) type = node({ kind: KIND.optional, minimum: 4, element: type });
      else if (rest.startsWith("=0")) type = { ...type, isZeroDefault: true };
      const bound = limit();
      if (bound !== null) type = array(type, bound);
      else rest = rest.replace(/^\?|^=0/u, "");
    }
    return type;
  }

  #base(base: string, limit: () => readonly [number, boolean] | null): FieldType {
    const kind = KIND_BY_NAME.get(base);
    if (kind !== undefined) return node({ kind, minimum: WIDTH[kind] ?? 4 });
    if (base === "uuid") return node({ kind: KIND.uuid, minimum: 16 });
    const limited = LIMITED.get(base);
    if (limited === undefined) return this.type(base);
    const [size, isFixed] = limit() ?? [STRING_MAX, false];
    const unit = base === "text" ? 4 : 1;
    return node({ kind: limited[isFixed ? 1 : 0], limit: size, minimum: isFixed ? size * unit : 4 });
  }
}

function array(element: FieldType, [limit, isFixed]: readonly [number, boolean]): FieldType {
  const minimum = isFixed ? limit * element.minimum : 4;
  return node({ kind: isFixed ? KIND.fixedArray : KIND.array, limit, minimum, element });
}

function node(parts: Partial<FieldType> & { kind: number }): FieldType {
  return { limit: 0, minimum: 4, element: null, struct: null, union: null, isZeroDefault: false, ...parts };
}
