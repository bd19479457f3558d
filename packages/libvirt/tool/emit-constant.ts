// Emits the constants of the public headers, one file per header, the names of error codes and domains, and the types of
// the well-known typed parameters.
import type { ConstantValue, HeaderConstant } from "./header-parser.ts";

export function emitConstants(constants: readonly HeaderConstant[]): string {
  let group: string | null = null;
  return constants
    .map((constant) => {
      const heading =
        constant.group !== group && constant.group ? `\n// ${constant.group}\n` : constant.group !== group ? "\n" : "";
      group = constant.group;
      return `${heading}export const ${constant.name} = ${literal(constant.value)};\n`;
    })
    .join("");
}

export function emitErrorNames(constants: readonly HeaderConstant[]): string {
  const table = (name: string, group: string, doc: string): string => {
    const rows = constants
      .filter((each) => each.group === group)
      .map((each) => `  ${literal(each.value)}: ${JSON.stringify(each.name)},\n`);
    return `/** ${doc} */\nexport const ${name}: Readonly<Record<number, string>> = {\n${rows.join("")}};\n`;
  };
  return [
    table("errorCodeNames", "virErrorNumber", "LibvirtError.code → name."),
    table("errorDomainNames", "virErrorDomain", "LibvirtError.domain → name."),
    table("errorLevelNames", "virErrorLevel", "LibvirtError.level → name."),
  ].join("\n");
}

export function emitParameterTypes(types: ReadonlyMap<string, string>): string {
  const rows = [...types]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, type]) => `  ${JSON.stringify(name)}: ${JSON.stringify(type.toLowerCase())},\n`);
  return `import type { TypedParameterType } from "#codec/typed-parameter-type.ts";\n\n/** Name on the wire → the type libvirt's drivers demand. */\nexport const parameterTypes: Readonly<Record<string, TypedParameterType>> = {\n${rows.join("")}};\n`;
}

export function literal(value: ConstantValue): string {
  if (typeof value === "string") return JSON.stringify(value);
  const isSafe = value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER);
  return isSafe ? String(value) : `${value}n`;
}
