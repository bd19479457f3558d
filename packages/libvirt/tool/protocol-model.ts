// Turns a parsed XDR specification into the two forms that are emitted: one schema line per struct (what the codec
// compiles, see src/codec/schema.ts for its notation) and one TypeScript interface per struct. Names: "remote_" is
// dropped, structs become PascalCase, fields and procedures camelCase.
import type { Declaration, Specification, UnionBody } from "./xdr-parser.ts";

export interface FieldModel {
  readonly name: string;
  readonly schema: string;
  readonly type: string;
  /** The field may be left out when writing: null for an optional, 0 for flags. */
  readonly omittable: boolean;
}
export interface StructModel {
  readonly name: string;
  readonly fields: readonly FieldModel[];
}
export interface UnionModel {
  readonly name: string;
  readonly arms: readonly { readonly labels: readonly bigint[]; readonly field: FieldModel | null }[];
}
interface Resolved {
  readonly schema: string;
  readonly type: string;
}

const PRIMITIVE = new Map<string, string>([
  ["int", "number"],
  ["uint", "number"],
  ["short", "number"],
  ["ushort", "number"],
  ["char", "number"],
  ["uchar", "number"],
  ["hyper", "bigint"],
  ["uhyper", "bigint"],
  ["bool", "boolean"],
  ["float", "number"],
  ["double", "number"],
]);

/** Character arrays that carry bytes (SASL tokens); every other character array is NUL-terminated text. */
const BYTE_LIMIT = new Set(["REMOTE_AUTH_SASL_DATA_MAX"]);

export class ProtocolModel {
  readonly #specifications: readonly Specification[];
  readonly #constant: (name: string) => bigint | undefined;

  /** @param specifications the file itself first, then those whose types it uses. */
  constructor(specifications: readonly Specification[], constant: (name: string) => bigint | undefined) {
    this.#specifications = specifications;
    this.#constant = constant;
  }

  structs(): StructModel[] {
    return [...(this.#specifications[0]?.structs ?? [])]
      .filter(([name]) => name !== "remote_typed_param")
      .map(([name, fields]) => ({ name: pascal(name), fields: this.#fields(fields, name.endsWith("_args")) }));
  }

  unions(): UnionModel[] {
    return [...(this.#specifications[0]?.unions ?? [])]
      .filter(([name]) => name !== "remote_typed_param_value")
      .map(([name, body]) => this.#union(name, body));
  }

  value(text: string): bigint {
    if (/^-?\d/u.test(text)) return BigInt(text);
    for (const { constants, enums } of this.#specifications) {
      const constant = constants.get(text);
      if (constant !== undefined) return this.value(constant);
      for (const members of enums.values()) {
        let next = 0n;
        for (const member of members) {
          const value = member.value === null ? next : this.value(member.value);
          if (member.name === text) return value;
          next = value + 1n;
        }
      }
    }
    const outside = this.#constant(text);
    if (outside === undefined) throw new Error(`unknown constant ${text}`);
    return outside;
  }

  #union(name: string, body: UnionBody): UnionModel {
    const arms = body.arms.map((arm) => ({
      labels: arm.labels.map((label) => this.value(label)),
      field: this.#fields([arm.body], false)[0] ?? null,
    }));
    if (body.fallback !== null) throw new Error(`union ${name}: a default arm`);
    return { name: pascal(name), arms };
  }

  #fields(fields: readonly Declaration[], isArgs: boolean): FieldModel[] {
    return fields
      .filter((field) => field.name !== "")
      .map((field) => {
        const { schema, type } = this.#declaration(field);
        const isFlags = isArgs && field.name === "flags" && schema === "uint";
        const omittable = isArgs && (isFlags || schema.endsWith("?"));
        const written = isArgs ? type.replace("TypedParameters", "TypedParameterInput") : type;
        return { name: camel(field.name), schema: isFlags ? `${schema}=0` : schema, type: written, omittable };
      });
  }

  #declaration(declaration: Declaration): Resolved {
    if (declaration.type.kind !== "name") throw new Error(`${declaration.name}: a type without a name`);
    const base = declaration.type.name;
    const { shape } = declaration;
    if (base === "string") return { schema: `string<${this.#limit(shape)}>`, type: "string" };
    if (base === "opaque") return this.#opaque(declaration);
    if (base === "char" && shape.kind !== "plain") return this.#characters(declaration);
    if (base === "remote_typed_param" && shape.kind === "variable")
      return { schema: `params<${this.#limit(shape)}>`, type: "TypedParameters" };
    const { schema, type } = this.#named(base);
    switch (shape.kind) {
      case "plain":
        return { schema, type };
      case "optional":
        return { schema: `${schema}?`, type: `${type} | null` };
      case "fixed":
        return { schema: `${schema}[${this.value(shape.size)}]`, type: arrayOf(type) };
      case "variable":
        return { schema: `${schema}<${this.#limit(shape)}>`, type: arrayOf(type) };
    }
  }

  #opaque({ name, shape }: Declaration): Resolved {
    if (shape.kind !== "fixed") return { schema: `opaque<${this.#limit(shape)}>`, type: "Uint8Array" };
    if (name.toLowerCase().endsWith("uuid")) return { schema: "uuid", type: "string" };
    return { schema: `opaque[${this.value(shape.size)}]`, type: "Uint8Array" };
  }

  #characters({ shape }: Declaration): Resolved {
    if (shape.kind === "fixed") return { schema: `text[${this.value(shape.size)}]`, type: "string" };
    const isBytes = shape.kind === "variable" && shape.max !== null && BYTE_LIMIT.has(shape.max);
    return isBytes
      ? { schema: `bytes<${this.#limit(shape)}>`, type: "Uint8Array" }
      : { schema: `text<${this.#limit(shape)}>`, type: "string" };
  }

  #limit(shape: Declaration["shape"]): bigint {
    if (shape.kind !== "variable") throw new Error("a variable-length type was expected");
    return shape.max === null ? 0xffffffffn : this.value(shape.max);
  }

  #named(name: string): Resolved {
    const primitive = PRIMITIVE.get(name);
    if (primitive !== undefined) return { schema: name, type: primitive };
    for (const { typedefs, structs, enums, unions } of this.#specifications) {
      const typedef = typedefs.get(name);
      if (typedef !== undefined) return this.#declaration(typedef);
      if (enums.has(name)) return { schema: "int", type: "number" };
      if (structs.has(name) || unions.has(name)) return { schema: pascal(name), type: pascal(name) };
    }
    throw new Error(`unknown type ${name}`);
  }
}

function arrayOf(type: string): string {
  return type.includes(" ") ? `readonly (${type})[]` : `readonly ${type}[]`;
}

/** remote_domain_get_xml_desc_ret → DomainGetXmlDescRet; virNetMessageError → NetMessageError. */
export function pascal(name: string): string {
  const bare = name.replace(/^remote_|^vir(?=[A-Z])/u, "");
  const joined = bare.replace(/(?:^|_)([A-Za-z0-9])/gu, (_, letter: string) => letter.toUpperCase());
  return joined;
}

/** REMOTE field and procedure names: snake case becomes camelCase, camelCase stays. */
export function camel(name: string): string {
  return name.replace(/_+([A-Za-z0-9])/gu, (_, letter: string) => letter.toUpperCase());
}
