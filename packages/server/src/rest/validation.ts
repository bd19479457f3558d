/** Checks what a client sends against the contract's schemas: the refusal names the field as a dotted path, and says why. */
import type { TSchema } from "typebox";
import { Compile, type Validator } from "typebox/compile";
import { Value } from "typebox/value";
import { checkFolder, Folder } from "@innkeeper/contract/folder.ts";
import { checkName, Name } from "@innkeeper/contract/name.ts";
import { AppError } from "#core/app-error.ts";

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message: string;
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, TSchema>>;
  readonly items?: TSchema;
  readonly pattern?: string;
  readonly anyOf?: readonly TSchema[];
}

/** What says in words what is wrong with a text of these schemas, which they are known by. */
const checks = new Map([
  [(Name as SchemaNode).pattern, checkName],
  [(Folder as SchemaNode).pattern, checkFolder],
]);

const validators = new WeakMap<TSchema, Validator>();

function validatorOf(schema: TSchema): Validator {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  const validator = Compile(schema);
  validators.set(schema, validator);
  return validator;
}

/** The body as it is; invalid_field names what is wrong with it. */
export function validateBody(schema: TSchema, body: unknown): unknown {
  validate(schema, body, "");
  checkNames(schema, body, "");
  return body;
}

/** The query with its texts turned into the numbers and booleans that the schema has there. */
export function validateQuery(schema: TSchema | undefined, query: unknown): unknown {
  if (schema === undefined) {
    const [field] = Object.keys(query as object);
    if (field === undefined) return {};
    throw new AppError("invalid_field", `There is no query parameter ${JSON.stringify(field)} here.`, { field });
  }
  const converted = Value.Convert(schema, { ...(query as object) });
  validate(schema, converted, "query parameter");
  return converted;
}

function validate(schema: TSchema, value: unknown, what: string): void {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return;
  const errors = validator.Errors(value) as readonly SchemaError[];
  // An unknown field comes with an error of its own that says less.
  const error = errors.find((each) => each.keyword !== "boolean" && each.keyword !== "anyOf") ?? errors[0];
  const { field, reason } = describe(error, value);
  const subject = field === "" ? "The body" : [what, field].filter((part) => part !== "").join(" ");
  throw new AppError("invalid_field", `${subject} ${reason}.`, field === "" ? {} : { field });
}

function describe(error: SchemaError | undefined, value: unknown): { field: string; reason: string } {
  if (error === undefined) return { field: "", reason: "is not valid" };
  const path = segments(error.instancePath);
  const field = path.join(".");
  const child = (names: unknown): string => [...path, (names as string[])[0] ?? ""].join(".");
  switch (error.keyword) {
    case "required":
      return { field: child(error.params["requiredProperties"]), reason: "is missing" };
    case "additionalProperties":
    case "unevaluatedProperties":
      return { field: child(error.params[error.keyword]), reason: "is not a field of this request" };
    case "enum":
      return { field, reason: `must be one of ${(error.params["allowedValues"] as unknown[]).join(", ")}` };
    case "pattern":
      return { field, reason: reasonOfPattern(error.params["pattern"], at(value, path)) };
    case "minProperties":
      return { field, reason: "must change at least one field" };
    default:
      return { field, reason: error.message };
  }
}

function reasonOfPattern(pattern: unknown, value: unknown): string {
  const check = typeof value === "string" ? checks.get(String(pattern)) : undefined;
  return check?.(String(value)) ?? `must match ${String(pattern)}`;
}

/** JSON pointer: RFC 6901. */
function segments(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((segment) => segment.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (part, name) => (typeof part === "object" && part !== null ? (part as Record<string, unknown>)[name] : undefined),
    value,
  );
}

/** What a pattern can't say of names and folders: their length in bytes, and valid Unicode. */
function checkNames(schema: TSchema, value: unknown, path: string): void {
  const node = schema as SchemaNode;
  if (typeof value === "string") {
    for (const each of node.anyOf ?? []) checkNames(each, value, path);
    const reason = checks.get(node.pattern)?.(value);
    if (reason !== undefined) throw new AppError("invalid_field", `${path} ${reason}.`, { field: path });
  } else if (Array.isArray(value) && node.items !== undefined) {
    for (const [index, item] of value.entries()) checkNames(node.items, item, `${path}.${index}`);
  } else if (typeof value === "object" && value !== null && node.properties !== undefined) {
    for (const [name, property] of Object.entries(node.properties)) {
      const below = (value as Record<string, unknown>)[name];
      if (below !== undefined) checkNames(property, below, path === "" ? name : `${path}.${name}`);
    }
  }
}
