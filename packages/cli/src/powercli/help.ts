/** `inn Get-VM -?`: syntax, parameters, what is refused and why, examples. */
import { pairText } from "#output/table.ts";
import { commonParameters, type Parameter, riskParameters, type Signature } from "#powercli/signature.ts";

const typeName: Readonly<Record<NonNullable<Parameter["type"]>, string>> = {
  text: "String",
  decimal: "Decimal",
  integer: "Int64",
  boolean: "Boolean",
  time: "DateTime",
  switch: "",
};

/** As Get-Help writes it: `[[-Name] <String[]>]`. */
function syntax(parameter: Parameter): string {
  const { name, type = "text", list, position, required } = parameter;
  const named = position === undefined ? `-${name}` : `[-${name}]`;
  const whole = type === "switch" ? named : `${named} <${typeName[type]}${list === true ? "[]" : ""}>`;
  return required === true ? whole : `[${whole}]`;
}

function described(parameters: readonly Parameter[]): string {
  return pairText(
    parameters.map((parameter) => {
      const { name, aliases = [], words, pipeline, help } = parameter;
      const notes = [
        aliases.length === 0 ? "" : `also -${aliases.join(", -")}`,
        words === undefined ? "" : words.join(" | "),
        pipeline === true ? "from standard input where it is not given" : "",
      ].filter((note) => note !== "");
      return [`-${name}`, notes.length === 0 ? help : `${help} (${notes.join("; ")})`] as const;
    }),
    "  ",
  );
}

export function helpText(cmdlet: Signature): string {
  const { name, summary, parameters, refused = {}, impact, details, examples } = cmdlet;
  const ordered = parameters.toSorted((left, right) => (left.position ?? 99) - (right.position ?? 99));
  const asks = impact === "asks" ? "It asks before each; -Confirm:$false does not.\n" : "";
  const sections = [
    `${name}: ${summary}\n`,
    `Syntax\n  inn ${[name, ...ordered.map(syntax)].join(" ")}\n`,
    `Parameters\n${described(parameters)}`,
    `Of all cmdlets\n${described([...(impact === undefined ? [] : riskParameters), ...commonParameters])}  -o FORMAT  table, wide, json, yaml, name; without it a table on a terminal, JSON lines elsewhere\n`,
    Object.keys(refused).length === 0
      ? ""
      : `Refused\n${pairText(
          Object.entries(refused).map(([key, why]) => [`-${key}`, why]),
          "  ",
        )}`,
    [asks, details === undefined ? "" : `${details}\n`].join(""),
    `Examples\n${examples.map((line) => `  inn ${line}\n`).join("")}`,
  ];
  return sections.filter((section) => section !== "").join("\n");
}
