// Reads the constants of libvirt's public headers (include/libvirt/*.h): "#define VIR_X …" and the members of "typedef
// enum". Sentinels (VIR_ENUM_SENTINELS) are left out: they change with every release. Order is the headers' own.
import { evaluateC } from "./c-expression.ts";

export type ConstantValue = bigint | string;
export interface HeaderConstant {
  readonly name: string;
  readonly value: ConstantValue;
  /** The enum type the constant is a member of ("virDomainState"), null for a #define. */
  readonly group: string | null;
}

const STATEMENT =
  /^[ \t]*#[ \t]*define[ \t]+(VIR_\w+)[ \t]+(.+)$|(?:typedef\s+)?enum(?:\s+\w+)?\s*\{([^}]*)\}\s*(\w*)\s*;/gmu;

/** @param known constants of the headers read before; grows. */
export function parseHeader(source: string, known: Map<string, ConstantValue>): HeaderConstant[] {
  const text = source
    .replace(/\\\n/gu, " ")
    .replace(/\/\*[\s\S]*?\*\//gu, (comment) => comment.replace(/[^\n]/gu, " "))
    .replace(/^[ \t]*#[ \t]*ifdef VIR_ENUM_SENTINELS[\s\S]*?^[ \t]*#[ \t]*endif.*$/gmu, "");
  const constants: HeaderConstant[] = [];
  const add = (name: string, value: ConstantValue | undefined, group: string | null): void => {
    if (value === undefined) return;
    if (!known.has(name)) constants.push({ name, value, group });
    known.set(name, value);
  };
  for (const [, define, body, members, group] of text.matchAll(STATEMENT)) {
    if (define !== undefined && body !== undefined) add(define, defined(body.trim(), known), null);
    if (members !== undefined && group !== undefined)
      enumerate(members, known, (name, value) => add(name, value, group));
  }
  return constants;
}

function defined(body: string, known: ReadonlyMap<string, ConstantValue>): ConstantValue | undefined {
  const text = /^"([^"]*)"$/u.exec(body)?.[1];
  if (text !== undefined) return text;
  const alias = known.get(body);
  return alias ?? evaluateC(body, (name) => integer(known, name));
}

function enumerate(
  members: string,
  known: ReadonlyMap<string, ConstantValue>,
  add: (name: string, value: bigint) => void,
): void {
  let next = 0n;
  for (const member of members.split(",").map((each) => each.trim())) {
    if (member === "" || member.startsWith("#")) continue;
    const match = /^(\w+)\s*(?:=\s*([\s\S]+))?$/u.exec(member);
    const name = match?.[1];
    if (name === undefined) throw new SyntaxError(`enum member ${JSON.stringify(member)}`);
    const value = match?.[2] === undefined ? next : evaluateC(match[2], (each) => integer(known, each));
    if (value === undefined) throw new SyntaxError(`value of enum member ${JSON.stringify(member)}`);
    add(name, value);
    next = value + 1n;
  }
}

function integer(known: ReadonlyMap<string, ConstantValue>, name: string): bigint | undefined {
  const value = known.get(name);
  return typeof value === "bigint" ? value : undefined;
}

const PARAMETER = /\b(VIR_[A-Z0-9_]+),\s*VIR_TYPED_PARAM_(INT|UINT|LLONG|ULLONG|DOUBLE|BOOLEAN|STRING)\b/gu;

/**
 * The type libvirt's drivers demand of each well-known typed parameter, read from their own validation tables
 * (virTypedParamsValidate and its like), keyed by the parameter's name on the wire.
 */
export function parseParameterTypes(
  source: string,
  known: ReadonlyMap<string, ConstantValue>,
  types: Map<string, string>,
): void {
  for (const [, macro, type] of source.matchAll(PARAMETER)) {
    const name = macro === undefined ? undefined : known.get(macro);
    if (typeof name !== "string" || type === undefined) continue;
    const previous = types.get(name);
    if (previous !== undefined && previous !== type)
      throw new Error(`parameter ${name} is both ${previous} and ${type}`);
    types.set(name, type);
  }
}
