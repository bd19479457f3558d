/**
 * Binds the words of a command line to a cmdlet's parameters as PowerShell does: names without regard to case, unambiguous
 * prefixes, positions, lists, switches. Everything that is not understood is an error that names the parameter.
 * Facts: PowerShell's about_Parameters, about_CommonParameters, "Types of Cmdlet Parameters" (positional binding).
 */
import { usageError, valueError } from "#cli-error.ts";
import { outputFormats } from "#output/format.ts";
import { allParameters, allRefused, type Parameter, type Signature } from "#powercli/signature.ts";
import { booleanOf, listItems, parameterWord, Words } from "#powercli/word.ts";

type Value = string | number | boolean | readonly string[] | readonly number[];

/** The values of parameters; asking for one that the cmdlet does not have is a defect. */
export class Bound {
  readonly #values: ReadonlyMap<string, Value>;
  readonly wantsHelp: boolean;
  /** inn's own `-o`. */
  readonly output: string | undefined;

  constructor(
    values: ReadonlyMap<string, Value>,
    own: { readonly help: boolean; readonly output: string | undefined },
  ) {
    this.#values = values;
    this.wantsHelp = own.help;
    this.output = own.output;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  text(name: string): string | undefined {
    const value = this.#values.get(name);
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): readonly string[] {
    const value = this.#values.get(name);
    return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
  }

  number(name: string): number | undefined {
    const value = this.#values.get(name);
    return typeof value === "number" ? value : undefined;
  }

  numbers(name: string): readonly number[] {
    const value = this.#values.get(name);
    return Array.isArray(value) ? value.filter((item) => typeof item === "number") : [];
  }

  flag(name: string): boolean | undefined {
    const value = this.#values.get(name);
    return typeof value === "boolean" ? value : undefined;
  }
}

export function bind(cmdlet: Signature, argv: readonly string[]): Bound {
  const values = new Map<string, Value>();
  const words = new Words(argv);
  const plain: string[] = [];
  let help = false;
  let output: string | undefined;
  while (words.next !== undefined) {
    const word = words.take() ?? "";
    const own = ownOption(word, words);
    if (own?.name === "help") help = true;
    else if (own?.name === "output") output = own.value;
    else if (own?.name === "server") setOnce(values, "Server", own.value);
    else if (word === "--") plain.push(...words.takeAll());
    else if (parameterWord(word) !== undefined) bindNamed(cmdlet, word, words, values);
    else plain.push(words.restOfList(word));
  }
  if (!help) bindPositions(cmdlet, plain, values);
  return new Bound(values, { help, output });
}

type OwnOption = { readonly name: "help" } | { readonly name: "output" | "server"; readonly value: string };

/** The options that all commands of inn have, as they are written everywhere else. */
function ownOption(word: string, words: Words): OwnOption | undefined {
  if (word === "-?" || word === "-h" || word === "--help") return { name: "help" };
  const [, long, value] = /^--(output|server)(?:=(.*))?$/s.exec(word) ?? [];
  const attached = outputFormats.find((format) => word === `-o${format}`);
  if (attached !== undefined) return { name: "output", value: attached };
  const name = word === "-o" ? "output" : word === "-s" ? "server" : long;
  if (name !== "output" && name !== "server") {
    if (word.startsWith("--") && word !== "--")
      throw usageError(`there is no option ${word}`, "Parameters of cmdlets have one dash: -Name, -VM.");
    return undefined;
  }
  const taken = value ?? words.take();
  if (taken === undefined) throw usageError(`${word} needs a value`);
  return { name, value: taken };
}

/** The parameter of this name; throws unless exactly one is meant. A string is the reason why it is refused. */
export function findParameter(cmdlet: Signature, typed: string): Parameter {
  const text = typed.toLowerCase();
  const names = [
    ...allParameters(cmdlet).flatMap((parameter) =>
      [parameter.name, ...(parameter.aliases ?? [])].map((name) => ({ name, parameter, refused: "" })),
    ),
    ...Object.entries(allRefused(cmdlet)).map(([name, refused]) => ({ name, parameter: undefined, refused })),
  ];
  const exact = names.filter(({ name }) => name.toLowerCase() === text);
  const found = exact.length > 0 ? exact : names.filter(({ name }) => name.toLowerCase().startsWith(text));
  const [first] = found;
  if (first === undefined) {
    const all = allParameters(cmdlet).map(({ name }) => `-${name}`);
    throw usageError(`${cmdlet.name} has no parameter -${typed}`, `There is ${all.join(", ")}.`);
  }
  if (new Set(found.map(({ parameter, name }) => parameter?.name ?? name)).size > 1) {
    const candidates = found.map(({ name }) => `-${name}`).join(", ");
    throw usageError(`${cmdlet.name}: -${typed} is ambiguous`, `It may be ${candidates}.`);
  }
  if (first.parameter !== undefined) return first.parameter;
  throw usageError(`${cmdlet.name}: Innkeeper does not have -${first.name}: ${first.refused}`);
}

function isParameter(cmdlet: Signature, word: string): boolean {
  const named = parameterWord(word);
  if (named === undefined) return false;
  const text = named.name.toLowerCase();
  const names = allParameters(cmdlet).flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  return [...names, ...Object.keys(allRefused(cmdlet))].some((name) => name.toLowerCase().startsWith(text));
}

function bindNamed(cmdlet: Signature, word: string, words: Words, values: Map<string, Value>): void {
  const { name, value } = parameterWord(word) ?? { name: word, value: undefined };
  const parameter = findParameter(cmdlet, name);
  if (parameter.type === "switch") {
    setOnce(values, parameter.name, switchValue(parameter, value, words));
    return;
  }
  const rest = value === "" || value === undefined ? nextValue(cmdlet, parameter, words) : value;
  const text = parameter.list === true ? words.restOfList(rest) : rest;
  setOnce(values, parameter.name, valueOf(parameter, text));
}

function switchValue(parameter: Parameter, value: string | undefined, words: Words): boolean {
  if (value === undefined) return true;
  if (value !== "") {
    const read = booleanOf(value);
    if (read !== undefined) return read;
    throw valueError(`-${parameter.name}`, `"${value}" is neither $true nor $false`);
  }
  const following = words.next === undefined ? undefined : booleanOf(words.next);
  if (following !== undefined) {
    words.take();
    return following;
  }
  // Nobody writes -Confirm:$true, which is what -Confirm alone says.
  if (parameter.name === "Confirm") return false;
  throw valueError(
    `-${parameter.name}`,
    "nothing stands after the colon: the shell has taken $true or $false for a variable of its own",
    `Write -${parameter.name}, or -${parameter.name}:false.`,
  );
}

function nextValue(cmdlet: Signature, parameter: Parameter, words: Words): string {
  const word = words.next;
  if (word !== undefined && !isParameter(cmdlet, word)) return words.take() ?? "";
  const remedy =
    parameter.type === "boolean"
      ? `In bash, $true and $false are quoted: -${parameter.name} '$true'; or -${parameter.name}:true.`
      : `A value that begins with a dash follows a colon: -${parameter.name}:-value.`;
  throw usageError(`${cmdlet.name}: -${parameter.name} needs a value`, remedy);
}

function setOnce(values: Map<string, Value>, name: string, value: Value): void {
  if (values.has(name)) throw usageError(`-${name} is given twice`);
  values.set(name, value);
}

/** Words without a name. Where too few are there, what standard input can give is left to it. */
function bindPositions(cmdlet: Signature, plain: readonly string[], values: Map<string, Value>): void {
  const open = cmdlet.parameters
    .filter(({ position, name }) => position !== undefined && !values.has(name))
    .toSorted((left, right) => (left.position ?? 0) - (right.position ?? 0));
  const needed = open.filter(({ required }) => required === true);
  const piped = plain.length < needed.length ? open.find(({ pipeline }) => pipeline === true) : undefined;
  const places = open.filter((parameter) => parameter !== piped);
  for (const [index, text] of plain.entries()) {
    const parameter = places[index];
    if (parameter === undefined) {
      const remedy = text.includes(" ") ? undefined : "Text with spaces is quoted, lists have commas: a,b.";
      throw usageError(`${cmdlet.name}: "${text}" belongs to no parameter`, remedy);
    }
    values.set(parameter.name, valueOf(parameter, text));
  }
  const missing = cmdlet.parameters.find(
    ({ name, required, pipeline }) => required === true && pipeline !== true && !values.has(name),
  );
  if (missing !== undefined)
    throw usageError(`${cmdlet.name} needs -${missing.name}`, `See \`inn ${cmdlet.name} -?\`.`);
}

function valueOf(parameter: Parameter, text: string): Value {
  const { type = "text", list } = parameter;
  if (type === "boolean" || type === "switch") {
    const value = booleanOf(text);
    if (value === undefined) throw valueError(`-${parameter.name}`, `"${text}" is neither $true nor $false`);
    return value;
  }
  const isNumber = type === "decimal" || type === "integer";
  if (list !== true) return isNumber ? numberOf(parameter, text) : wordOf(parameter, text);
  const items = listItems(text);
  // As of a variable that is not set: never "none of them", and never "all".
  if (items.length === 0) throw valueError(`-${parameter.name}`, "it is empty");
  return isNumber ? items.map((item) => numberOf(parameter, item)) : items.map((item) => wordOf(parameter, item));
}

function numberOf(parameter: Parameter, text: string): number {
  const isInteger = parameter.type === "integer";
  const pattern = isInteger ? /^[+-]?\d+$/ : /^[+-]?\d+(\.\d+)?$/;
  const value = Number(text);
  if (!pattern.test(text) || Math.abs(value) > Number.MAX_SAFE_INTEGER)
    throw valueError(`-${parameter.name}`, `"${text}" is no ${isInteger ? "whole " : ""}number`);
  return value;
}

function wordOf(parameter: Parameter, text: string): string {
  if (parameter.words === undefined) return text;
  const word = parameter.words.find((candidate) => candidate.toLowerCase() === text.toLowerCase());
  if (word !== undefined) return word;
  throw valueError(`-${parameter.name}`, `"${text}" is none of ${parameter.words.join(", ")}`);
}
