/** What can stand at the cursor after a cmdlet: parameters, their words, names from the server. Case is as forgiving as the cmdlets. */
import { CliError } from "#cli-error.ts";
import type { Candidate } from "#candidate.ts";
import type { LookupNoun } from "#lookup.ts";
import { outputFormats } from "#output/format.ts";
import { findParameter } from "#powercli/bind.ts";
import { allParameters, type Parameter, type Signature } from "#powercli/signature.ts";
import { cmdletNames } from "#powercli/table.ts";
import { parameterWord } from "#powercli/word.ts";

type NamesOf = (noun: LookupNoun, vmName?: string) => Promise<Candidate[]>;

/** Cmdlets for a first word that looks like one: they would only be in the way of the other verbs. */
export function cmdletCandidates(word: string): Candidate[] {
  if (!/^[A-Z]|-/.test(word)) return [];
  const isSmall = word === word.toLowerCase();
  return cmdletNames.map((name) => ({ value: isSmall ? name.toLowerCase() : name })).filter(beginsWith(word));
}

/** `words` follow the cmdlet; the last is the unfinished one. */
export async function cmdletCompletions(
  cmdlet: Signature,
  words: readonly string[],
  namesOf: NamesOf,
): Promise<Candidate[]> {
  const word = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const last = before.at(-1);
  if (last === "-o" || last === "--output") return outputFormats.map((value) => ({ value })).filter(beginsWith(word));
  const pending = valueParameter(cmdlet, last);
  if (pending === undefined && word.startsWith("-")) {
    return allParameters(cmdlet)
      .map(({ name, help }) => ({ value: `-${name}`, description: help }))
      .filter(beginsWith(word));
  }
  const parameter = pending ?? positional(cmdlet, before);
  if (parameter === undefined) return [];
  // Of a list, the item at the cursor.
  const done = parameter.list === true ? word.slice(0, word.lastIndexOf(",") + 1) : "";
  const vmName = valueOf(cmdlet, before, "VM");
  const candidates =
    parameter.words?.map((value) => ({ value })) ??
    (parameter.noun === undefined
      ? []
      : await namesOf(parameter.noun, parameter.noun === "snapshot" ? vmName : undefined));
  return candidates.map((candidate) => ({ ...candidate, value: `${done}${candidate.value}` })).filter(beginsWith(word));
}

function beginsWith(word: string): (candidate: Candidate) => boolean {
  return ({ value }) => value.toLowerCase().startsWith(word.toLowerCase());
}

/** The parameter whose value follows this word. */
function valueParameter(cmdlet: Signature, word: string | undefined): Parameter | undefined {
  const named = word === undefined ? undefined : parameterWord(word);
  if (named === undefined || named.value !== undefined) return undefined;
  try {
    const parameter = findParameter(cmdlet, named.name);
    return parameter.type === "switch" ? undefined : parameter;
  } catch (error) {
    if (error instanceof CliError) return undefined;
    throw error;
  }
}

function valueOf(cmdlet: Signature, words: readonly string[], name: string): string | undefined {
  const at = words.findIndex((word) => valueParameter(cmdlet, word)?.name === name);
  return at < 0 ? undefined : words[at + 1];
}

/** Where the next word without a name goes. */
function positional(cmdlet: Signature, before: readonly string[]): Parameter | undefined {
  const given = new Set(before.map((word) => valueParameter(cmdlet, word)?.name));
  const plain = before.filter(
    (word, index) => parameterWord(word) === undefined && !valueParameter(cmdlet, before[index - 1]),
  );
  return cmdlet.parameters
    .filter(({ position, name }) => position !== undefined && !given.has(name))
    .toSorted((left, right) => (left.position ?? 0) - (right.position ?? 0))[plain.length];
}
