/**
 * Fields of resources by name, as filters, sort orders and field lists write them: dotted paths (`spec.nics.network`), short
 * names (`memoryMiB`), and fields of what a resource belongs to (`host.name` of a VM, by its `hostId`).
 */
import type { TSchema } from "typebox";
import { idPrefix, type Kind } from "./id.ts";

export type FieldType = "string" | "number" | "boolean" | "other";

/** What the fields of a kind of resource are. */
export interface FieldSource {
  /** Of one resource. */
  readonly schema: TSchema;
  /** Short names, with the paths that they stand for. */
  readonly shortNames: Readonly<Record<string, string>>;
  /** Paths that are searched for free text. */
  readonly text: readonly string[];
}
export type FieldSources = Readonly<Record<Kind, FieldSource>>;

/** From a resource to the one that it belongs to: `hostId` leads to a host. */
export interface Hop {
  readonly path: readonly string[];
  readonly kind: Kind;
}

export interface Field {
  /** As it was written. */
  readonly name: string;
  /** From the listed resource to the one that has the field; mostly none. */
  readonly hops: readonly Hop[];
  /** In the resource that has it. Arrays are looked through: the path is of their elements. */
  readonly path: readonly string[];
  readonly type: FieldType;
  /** All that its value can be, where the schema lists them. */
  readonly values?: readonly string[];
}

interface SchemaNode {
  readonly type?: string;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly patternProperties?: Readonly<Record<string, TSchema>>;
  readonly items?: TSchema;
  readonly anyOf?: readonly TSchema[];
  readonly enum?: readonly unknown[];
}

/** The field of that name, or undefined if there is none. The name of a relation alone (`host`) is that of its name. */
export function findField(source: FieldSource, sources: FieldSources, name: string): Field | undefined {
  const short = Object.hasOwn(source.shortNames, name) ? source.shortNames[name] : undefined;
  const path = (short ?? name).split(".");
  const nodes = nodesAt(source.schema, path);
  if (nodes.length > 0) return { name, hops: [], path, ...shape(nodes) };
  for (let length = 1; length <= path.length; length++) {
    const hop = hopAt(source.schema, path.slice(0, length));
    if (hop === undefined) continue;
    const rest = path.slice(length).join(".");
    const field = findField(sources[hop.kind], sources, rest === "" ? "name" : rest);
    if (field !== undefined) return { ...field, name, hops: [hop, ...field.hops] };
  }
  return undefined;
}

/** The type at a path of the resource itself, or undefined if the schema has no such field. */
export function fieldType(schema: TSchema, path: string): FieldType | undefined {
  const nodes = nodesAt(schema, path.split("."));
  return nodes.length === 0 ? undefined : shape(nodes).type;
}

/** The names that a field can be written by, for suggestions: short names, relations, and paths. */
export function fieldNames({ schema, shortNames }: FieldSource): string[] {
  return [...Object.keys(shortNames), ...pathsOf(schema, "", 0)];
}

/** Whether any value at the path of a field passes; what is absent is not tested. Asked of every resource of long lists. */
export function someValueAt(
  resource: unknown,
  path: readonly string[],
  test: (value: unknown) => boolean,
  index = 0,
): boolean {
  let value = resource;
  for (let position = index; position < path.length; position++) {
    if (typeof value !== "object" || value === null) return false;
    if (Array.isArray(value)) return someElement(value, path, test, position);
    value = (value as Readonly<Record<string, unknown>>)[path[position] as string];
  }
  if (Array.isArray(value)) return someElement(value, path, test, path.length);
  return value !== undefined && test(value);
}

function someElement(
  list: readonly unknown[],
  path: readonly string[],
  test: (value: unknown) => boolean,
  index: number,
): boolean {
  for (const each of list) if (someValueAt(each, path, test, index)) return true;
  return false;
}

/** The first value at the path. */
export function firstValueAt(resource: unknown, path: readonly string[]): unknown {
  let first: unknown;
  someValueAt(resource, path, (value) => {
    first = value;
    return true;
  });
  return first;
}

function hopAt(schema: TSchema, path: readonly string[]): Hop | undefined {
  const idPath = [...path.slice(0, -1), `${path.at(-1) ?? ""}Id`];
  for (const node of nodesAt(schema, idPath)) {
    // IdOf writes the pattern.
    const prefix = /^\^([a-z]+)-/.exec(node.pattern ?? "")?.[1];
    const kind = (Object.keys(idPrefix) as Kind[]).find((each) => idPrefix[each] === prefix);
    if (kind !== undefined) return { path: idPath, kind };
  }
  return undefined;
}

/** What the schema has at a path: several where it allows alternatives. */
function nodesAt(schema: TSchema, path: readonly string[]): SchemaNode[] {
  const node = schema as SchemaNode;
  if (node.anyOf !== undefined) return node.anyOf.flatMap((each) => nodesAt(each, path));
  if (node.type === "array" && node.items !== undefined) return nodesAt(node.items, path);
  const [name, ...rest] = path;
  if (name === undefined) return [node];
  // What every object has is no field: nothing need look whose it is when it is read.
  if (name in Object.prototype) return [];
  const property = node.properties !== undefined && Object.hasOwn(node.properties, name) && node.properties[name];
  if (property) return nodesAt(property, rest);
  // A record, or a schema that says nothing, allows everything.
  const isOpen = node.patternProperties !== undefined || (node.type === undefined && node.properties === undefined);
  return isOpen ? [{}] : [];
}

function shape(nodes: readonly SchemaNode[]): Pick<Field, "type" | "values"> {
  const scalar = nodes.find((node) => scalarType(node) !== "other");
  if (scalar === undefined) return { type: "other" };
  const type = scalarType(scalar);
  const values = type === "boolean" ? ["true", "false"] : scalar.enum?.map(String);
  return values === undefined ? { type } : { type, values };
}

function scalarType(node: SchemaNode): FieldType {
  if (node.type === "integer" || node.type === "number") return "number";
  if (node.type === "string" || node.type === "boolean") return node.type;
  return "other";
}

/** Bounds a schema that contains itself. */
const depthMax = 6;

function pathsOf(schema: TSchema, before: string, depth: number): string[] {
  const node = schema as SchemaNode;
  if (depth > depthMax) return [];
  if (node.anyOf !== undefined) return node.anyOf.flatMap((each) => pathsOf(each, before, depth + 1));
  if (node.type === "array" && node.items !== undefined) return pathsOf(node.items, before, depth + 1);
  if (node.properties === undefined) return before === "" ? [] : [before];
  return Object.entries(node.properties).flatMap(([name, property]) => {
    const path = before === "" ? name : `${before}.${name}`;
    const relation = name.endsWith("Id") && hopAt(schema, [name.slice(0, -2)]) !== undefined ? [path.slice(0, -2)] : [];
    return [...relation, ...pathsOf(property, path, depth + 1)];
  });
}
