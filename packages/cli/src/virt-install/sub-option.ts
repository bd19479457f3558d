/**
 * Sub-options: `--disk size=20,bus=virtio`. Each option has a table of those it knows, a line each:
 *
 *   driver.io,io  ./driver/@io  int     names, the place in the element, how the value is written there
 *   size          -                     handled by the option's own code
 *   log.file      !path                 refused, with the reason of that name
 *
 * Names may have a `*` for a number (`numa.cell*.id`), which counts from 0 where the path's [*] counts from 1.
 * Quoting and commas are virt-install's (virtinst/cli.py: shlex with "," as white space).
 */
import { CliError, valueError } from "#cli-error.ts";
import type { XmlElement } from "./element.ts";
import { nearest } from "./near-miss.ts";
import { deletePath, setPath } from "./path.ts";
import { refusalReason } from "./refusal.ts";

type Writing = "text" | "int" | "yesno" | "onoff" | "flag" | "mib";

interface SubOption {
  readonly name: string;
  readonly pattern: RegExp;
  readonly path: string;
  readonly writing: Writing;
  /** Takes what follows, commas included, up to the next name that is known. */
  readonly takesCommas: boolean;
}

export type SubOptionTable = readonly SubOption[];

const writings: readonly string[] = ["int", "yesno", "onoff", "flag", "mib"];

/** Usual exit code of a command line that is not understood (argparse's, which virt-install's users know). */
const usageExitCode = 2;

export function subOptions(...texts: readonly string[]): SubOptionTable {
  return texts
    .flatMap((text) => text.split("\n"))
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .flatMap((line) => {
      const [names = "", path = "-", ...rest] = line.split(/\s+/);
      const writing = (rest.find((word) => writings.includes(word)) ?? "text") as Writing;
      return names.split(",").map((name): SubOption => {
        const pattern = new RegExp(`^${name.replaceAll(".", "\\.").replaceAll("*", "(\\d*)")}$`);
        return { name, pattern, path, writing, takesCommas: rest.includes("commas") };
      });
    });
}

/** What was given, in order: the name as it was written (without alias resolution) and its value. */
export type Given = Map<string, string | undefined>;

/** A usage error of virt-install's kind: exit code 2, before anything is touched. */
export function refuse(option: string, message: string, remedy?: string): CliError {
  return new CliError(message, { exitCode: usageExitCode, code: "bad_request", field: option, remedy });
}

/** `first`: names of values that come before any `name=`. */
export function parseSubOptions(option: string, text: string, table: SubOptionTable, first: readonly string[]): Given {
  const tuples = splitWords(text).map((word): [string, string | undefined] => {
    const equals = word.indexOf("=");
    return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
  });
  for (const [index, name] of first.entries()) {
    const tuple = tuples[index];
    if (tuple === undefined || tuple[1] !== undefined) break;
    tuples[index] = [name, tuple[0]];
  }
  const given: Given = new Map();
  for (let index = 0; index < tuples.length; index++) {
    const [name, value] = tuples[index] ?? ["", undefined];
    const sub = lookup(table, name);
    let whole = value;
    if (sub?.takesCommas === true) {
      for (let next = tuples[index + 1]; next !== undefined && !lookup(table, next[0]); next = tuples[index + 1]) {
        whole = `${whole ?? ""},${next[0]}${next[1] === undefined ? "" : `=${next[1]}`}`;
        index++;
      }
    }
    if (sub === undefined && !/^xpath\d*\./.test(name)) throw unknown(option, name, table);
    given.set(name, whole);
  }
  return given;
}

function unknown(option: string, name: string, table: SubOptionTable): CliError {
  const names = table.map((sub) => sub.name.replaceAll("*", "0"));
  const close = nearest(name, names);
  const hint = close === undefined ? `See ${option} help.` : `Did you mean ${close}? All: ${option} help.`;
  return refuse(option, `${option} has no "${name}".`, hint);
}

function lookup(table: SubOptionTable, name: string): SubOption | undefined {
  return table.find((sub) => sub.pattern.test(name));
}

/** Python's shlex (posix) with only the comma as white space: quotes group, a backslash keeps the next character. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let index = 0; index < text.length; index++) {
    const char = text.charAt(index);
    if (quote !== "") {
      if (char === quote) quote = "";
      else if (char === "\\" && quote === '"' && /["\\]/.test(text.charAt(index + 1))) word += text.charAt(++index);
      else word = (word ?? "") + char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= "";
    } else if (char === "\\") word = (word ?? "") + text.charAt(++index);
    else if (char === ",") {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + char;
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** Writes what has a place into the element; what is handled elsewhere is left out, what is refused throws. */
export function applySubOptions(option: string, element: XmlElement, given: Given, table: SubOptionTable): void {
  // In the table's order, as virt-install does it: what a number stands for depends on it.
  const order = (name: string): number => table.findIndex((sub) => sub.pattern.test(name));
  for (const [name, value] of [...given].toSorted(([a], [b]) => order(a) - order(b))) {
    const sub = lookup(table, name);
    if (sub === undefined || sub.path === "-") continue;
    if (sub.path.startsWith("!"))
      throw refuse(option, `${option} ${name} is not supported: ${refusalReason(sub.path)}`);
    const numbers = (sub.pattern.exec(name) ?? []).slice(1);
    const path = sub.path.replaceAll("[*]", () => `[${Number(numbers.shift() ?? "0") + 1}]`);
    write(option, element, { name, path, value, writing: sub.writing });
  }
  applyPaths(option, element, given);
}

interface Write {
  readonly name: string;
  readonly path: string;
  readonly value: string | undefined;
  readonly writing: Writing;
}

function write(option: string, element: XmlElement, { name, path, value, writing }: Write): void {
  switch (writing) {
    case "flag":
      if (onOff(option, name, value)) setPath(element, path, undefined, option);
      return;
    case "yesno":
      return setPath(element, path, onOff(option, name, value) ? "yes" : "no", option);
    case "onoff":
      return setPath(element, path, onOff(option, name, value) ? "on" : "off", option);
    case "int":
      return setPath(element, path, String(integer(option, name, value)), option);
    case "mib":
      return setPath(element, path, String(integer(option, name, value) * 1024), option);
    case "text":
      if (value !== undefined && value !== "") setPath(element, path, value, option);
  }
}

/** virt-install's words for on and off. */
export function onOff(option: string, name: string, value: string | undefined): boolean {
  if (/^(y|yes|1|true|t|on)$/i.test(value ?? "")) return true;
  if (/^(n|no|0|false|f|off)$/i.test(value ?? "")) return false;
  throw valueError(option, `${name} must be yes or no, not "${value ?? ""}".`);
}

/** Whole numbers, decimal or 0x. */
export function integer(option: string, name: string, value: string | undefined): number {
  const number = /^-?(\d+|0x[0-9a-f]+)$/i.test(value ?? "") ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw valueError(option, `${name} must be a whole number, not "${value ?? ""}".`);
  return number;
}

/** xpath.set, .create, .delete (each with a number, if there are several) of one option; .value goes with .set. */
export function applyPaths(option: string, element: XmlElement, given: Given): void {
  const value = (number: string): string | undefined => given.get(`xpath${number}.value`);
  for (const [name, text = ""] of given) {
    const [, number = "", verb] = /^xpath(\d*)\.(\w+)$/.exec(name) ?? [];
    if (verb === undefined || verb === "value") continue;
    if (verb === "delete") deletePath(element, text, option);
    else if (verb === "create") setPath(element, text, undefined, option);
    else if (verb === "set") {
      const [path, own] = value(number) === undefined ? splitAssignment(text) : [text, value(number)];
      if (own === "") deletePath(element, path, option);
      else setPath(element, path, own, option);
    } else throw refuse(option, `${option} has no "${name}".`, "There are xpath.set, .value, .create and .delete.");
  }
}

/** At the last `=` that is not within brackets: `./a[@b='c']/@d=e`. */
function splitAssignment(text: string): [string, string | undefined] {
  const match = /^((?:[^=[]|\[[^\]]*\])*)=(.*)$/s.exec(text);
  return match === null ? [text, undefined] : [match[1] ?? "", match[2]];
}
