/** Dotted paths into resources (`spec.nics.network`): what a schema knows of them, and the values that they lead to. */
import type { TSchema } from "typebox";

export type FieldType = "string" | "number" | "boolean" | "other";

interface SchemaNode {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly patternProperties?: Readonly<Record<string, TSchema>>;
  readonly items?: TSchema;
  readonly anyOf?: readonly TSchema[];
  readonly enum?: readonly unknown[];
}

/** The type at a path, or undefined if the schema has no such field. Arrays are looked through: the path is of their elements. */
export function fieldType(schema: TSchema, path: string): FieldType | undefined {
  return typeAt(schema as SchemaNode, path.split("."));
}

function typeAt(node: SchemaNode, path: readonly string[]): FieldType | undefined {
  if (node.anyOf !== undefined) {
    const types = node.anyOf.flatMap((each) => typeAt(each as SchemaNode, path) ?? []);
    return types.find((type) => type !== "other") ?? types[0];
  }
  if (node.type === "array" && node.items !== undefined) return typeAt(node.items as SchemaNode, path);
  const [name, ...rest] = path;
  if (name === undefined) return scalarType(node);
  const property = node.properties !== undefined && Object.hasOwn(node.properties, name) && node.properties[name];
  if (property) return typeAt(property as SchemaNode, rest);
  if (node.patternProperties !== undefined) return "other";
  // A schema that says nothing allows everything.
  return node.type === undefined && node.properties === undefined ? "other" : undefined;
}

function scalarType(node: SchemaNode): FieldType {
  if (node.type === "integer" || node.type === "number") return "number";
  if (node.type === "string" || node.type === "boolean") return node.type;
  return "other";
}

/** Every value that a path leads to: more than one where it goes through arrays, none where a part is absent. */
export function valuesAt(resource: unknown, path: string): unknown[] {
  let values: unknown[] = [resource];
  for (const name of path.split(".")) {
    values = values.flatMap((value) => {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return [];
      const next: unknown = (value as Readonly<Record<string, unknown>>)[name];
      return Array.isArray(next) ? (next as unknown[]) : [next];
    });
  }
  return values.filter((value) => value !== undefined);
}
