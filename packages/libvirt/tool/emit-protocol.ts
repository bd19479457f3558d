// Emits the files of one RPC program: its schema (for the codec), its types, and its procedure table.
import { camel, pascal } from "./protocol-model.ts";
import type { ProtocolModel, StructModel, UnionModel } from "./protocol-model.ts";
import type { EnumMember } from "./xdr-parser.ts";

export interface Procedure {
  readonly name: string;
  readonly number: bigint;
  readonly args: string | null;
  readonly ret: string | null;
  readonly message: string | null;
  readonly priority: "low" | "high";
  readonly stream: "read" | "write" | null;
}

export function procedures(
  members: readonly EnumMember[],
  program: string,
  model: ProtocolModel,
  structs: ReadonlySet<string>,
): Procedure[] {
  const prefix = new RegExp(`^${program.toUpperCase()}_PROC_`, "u");
  return members.map((member) => {
    const bare = member.name.replace(prefix, "").toLowerCase();
    const struct = (suffix: string): string | null => {
      const name = pascal(`${program}_${bare}_${suffix}`);
      return structs.has(name) ? name : null;
    };
    const annotation = (name: string): string | undefined =>
      new RegExp(`@${name}:\\s*(\\w+)`, "u").exec(member.comment)?.[1];
    return {
      name: camel(bare),
      number: model.value(member.name),
      args: struct("args"),
      ret: struct("ret"),
      message: struct("msg"),
      priority: annotation("priority") === "high" ? "high" : "low",
      stream:
        annotation("readstream") !== undefined ? "read" : annotation("writestream") !== undefined ? "write" : null,
    };
  });
}

export function emitSchema(program: string, structs: readonly StructModel[], unions: readonly UnionModel[]): string {
  const lines = structs.map(
    ({ name, fields }) => `  ${name}: ${quote(fields.map((field) => `${field.name}:${field.schema}`).join(" "))},`,
  );
  for (const { name, arms } of unions) {
    const text = arms.flatMap(({ labels, field }) =>
      labels.map((label) => `${label}=${field === null ? "void" : field.schema}`),
    );
    lines.push(`  ${name}: ${quote(`switch ${text.join(" ")}`)},`);
  }
  return `export const ${program}Schema: Readonly<Record<string, string>> = {\n${lines.join("\n").replace(/\bstring<4194304>(?![<[])/gu, "string")}\n};\n`;
}

export function emitTypes(structs: readonly StructModel[], unions: readonly UnionModel[], imports: string): string {
  const bodies = structs.map(({ name, fields }) => {
    const members = fields.map((field) => `  ${field.name}${field.omittable ? "?" : ""}: ${field.type};\n`);
    return `export interface ${name} {\n${members.join("")}}\n`;
  });
  for (const { name, arms } of unions) {
    const cases = arms.flatMap(({ labels, field }) =>
      labels.map((label) => `{ case: ${label}; value: ${field?.type ?? "undefined"} }`),
    );
    bodies.push(`export type ${name} = ${cases.join(" | ")};\n`);
  }
  return imports + bodies.join("");
}

export function emitProcedures(
  program: string,
  list: readonly Procedure[],
  identity: { number: bigint; version: bigint },
): string {
  const title = pascal(program);
  const tuple = (each: Procedure): string => `  ${each.name}: [${type(each.args)}, ${type(each.ret)}];\n`;
  const calls = list.filter((each) => each.message === null);
  const row = (each: Procedure): string => {
    const cells = [
      String(each.number),
      name(each.args),
      name(each.ret),
      quote(each.priority),
      ...(each.stream === null ? [] : [quote(each.stream)]),
    ];
    return `    ${each.name}: [${cells.join(", ")}],\n`;
  };
  return [
    `import type { Program } from "#codec/program.ts";\n`,
    `import type * as type from "#generated/${program}-type.ts";\n`,
    `\n/** Calls without a stream: argument and result. */\nexport interface ${title}Calls {\n`,
    ...calls.filter((each) => each.stream === null).map(tuple),
    `}\n\n/** Calls that open a stream: argument and result. */\nexport interface ${title}Streams {\n`,
    ...calls.filter((each) => each.stream !== null).map(tuple),
    `}\n\n/** Messages from the server. */\nexport interface ${title}Messages {\n`,
    ...list.filter((each) => each.message !== null).map((each) => `  ${each.name}: ${type(each.message)};\n`),
    `}\n\nexport const ${program}Program: Program = {\n  name: ${quote(program)},\n  number: 0x${identity.number.toString(16)},\n  version: ${identity.version},\n`,
    `  /** name: [number, argument struct, result struct, priority, stream direction as the client sees it] */\n  procedures: {\n`,
    ...calls.map(row),
    `  },\n  /** name: [number, struct] */\n  messages: {\n`,
    ...list
      .filter((each) => each.message !== null)
      .map((each) => `    ${each.name}: [${each.number}, ${name(each.message)}],\n`),
    `  },\n};\n`,
  ].join("");
}

function type(struct: string | null): string {
  return struct === null ? "void" : `type.${struct}`;
}

function name(text: string | null): string {
  return text === null ? "null" : quote(text);
}

export function quote(text: string): string {
  return JSON.stringify(text);
}
