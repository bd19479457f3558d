/** What can stand at the cursor of a command line: verbs, options, their words, and names from the server. */
import type { Command, Option } from "commander";
import type { Candidate } from "#candidate.ts";
import { ApiClient } from "#client.ts";
import { chooseServer, configFile, readConfig } from "#config.ts";
import { lookup, type LookupNoun } from "#lookup.ts";
import { nouns } from "#noun.ts";
import { cmdletCandidates, cmdletCompletions } from "#powercli/completion.ts";
import { cmdletAt, cmdletNamed, cmdlets } from "#powercli/table.ts";
import { isProgramName, programWords } from "#program-name.ts";
import type { Surroundings } from "#verb.ts";

/** A shell's user waits at every Tab. */
const serverTimeoutMs = 1500;
const nameLimit = 500;

/** `words` are those after `inn`; the last is the unfinished one, perhaps empty. */
export async function completions(
  root: Command,
  surroundings: Surroundings,
  words: readonly string[],
): Promise<Candidate[]> {
  const unfinished = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const cmdletIndex = cmdletAt(before);
  if (cmdletIndex >= 0) {
    const load = cmdlets[cmdletNamed(before[cmdletIndex] ?? "") ?? ""];
    if (load === undefined) return [];
    return await cmdletCompletions(await load(), words.slice(cmdletIndex + 1), namesOf);
  }
  if (before[0] === "virt-install") {
    const { optionNames } = await import("#virt-install/word.ts");
    const names = optionNames.filter((name) => name.startsWith("--")).map((value) => ({ value }));
    return names.filter(({ value }) => value.startsWith(unfinished));
  }
  const { command, positional, pending } = await walk(root, surroundings, before);
  const all = pending === undefined ? await atWord(command, positional, unfinished) : await valuesOf(pending);
  const isFirst = command === root && pending === undefined;
  if (isFirst && positional.length === 0) all.push(...cmdletCandidates(unfinished));
  return all.filter(({ value }) => value.startsWith(unfinished));

  async function valuesOf(option: Option): Promise<Candidate[]> {
    if (option.argChoices !== undefined) return option.argChoices.map((value) => ({ value }));
    if (option.attributeName() === "server") return savedServers();
    return await namesOf(option.attributeName());
  }

  async function atWord(command: Command, positional: readonly string[], word: string): Promise<Candidate[]> {
    const name = command.name();
    if (isProgramName(name)) return programWords[name].map((value) => ({ value }));
    if (word.startsWith("-")) return [...optionsOf(command), ...optionsOf(root)];
    const verbs = command.commands.filter((verb) => !verb.name().startsWith("__"));
    if (verbs.length > 0) return verbs.map((verb) => ({ value: verb.name(), description: verb.description() }));
    const argument = command.registeredArguments[positional.length] ?? command.registeredArguments.at(-1);
    const usable =
      argument !== undefined && (argument.variadic || positional.length < command.registeredArguments.length);
    if (!usable) return [];
    if (name === "completion") return ["bash", "zsh", "fish"].map((value) => ({ value }));
    if (argument.name() === "server") return savedServers();
    return await namesOf(argument.name(), positional[0]);
  }

  function savedServers(): Candidate[] {
    const { servers } = readConfig(configFile(surroundings.environment));
    return Object.entries(servers).map(([value, { url }]) => ({ value, description: url }));
  }

  /** Names of resources, if the word is one of the nouns. A snapshot's are those of the VM before it. */
  async function namesOf(word: string, vmName?: string): Promise<Candidate[]> {
    if (!Object.hasOwn(lookup, word)) return [];
    const noun = word as LookupNoun;
    const deadline = AbortSignal.timeout(serverTimeoutMs);
    const named = optionValue(before, "--server", "-s");
    const { connection } = chooseServer(
      readConfig(configFile(surroundings.environment)),
      named,
      surroundings.environment,
    );
    using api = new ApiClient(connection, AbortSignal.any([deadline, surroundings.signal]));
    try {
      const filter = noun === "snapshot" && vmName !== undefined ? await snapshotFilter(api, vmName) : undefined;
      const page = await api.page(lookup[noun].list, {
        limit: nameLimit,
        fields: "name",
        ...(filter === undefined ? {} : { filter }),
      });
      return [...new Set(page.items.map(({ name }) => name))].map((value) => ({ value }));
    } catch {
      return [];
    }
  }
}

async function snapshotFilter(api: ApiClient, vmName: string): Promise<string> {
  const { find } = await import("#lookup.ts");
  return `vmId=${(await find(api, "vm", vmName)).id}`;
}

interface Place {
  readonly command: Command;
  readonly positional: readonly string[];
  /** An option that the last word began and that needs a value. */
  readonly pending: Option | undefined;
}

/** Follows the finished words down the tree. */
async function walk(root: Command, surroundings: Surroundings, words: readonly string[]): Promise<Place> {
  let command = root;
  let positional: string[] = [];
  let pending: Option | undefined;
  for (const word of words) {
    if (pending !== undefined) {
      pending = undefined;
      continue;
    }
    if (word.startsWith("-")) {
      const option = [...command.options, ...root.options].find(({ short, long }) => word === short || word === long);
      pending = option?.required === true ? option : undefined;
      continue;
    }
    const next = command.commands.find((candidate) => candidate.name() === word || candidate.aliases().includes(word));
    if (next === undefined) {
      positional = [...positional, word];
      continue;
    }
    const noun = command === root && Object.hasOwn(nouns, word) ? nouns[word] : undefined;
    if (noun !== undefined && next.commands.length === 0) (await noun.load())(next, surroundings);
    command = next;
    positional = [];
  }
  return { command, positional, pending };
}

function optionsOf(command: Command): Candidate[] {
  return command.options
    .filter((option) => !option.hidden)
    .map((option) => ({ value: option.long ?? option.short ?? "", description: option.description }));
}

function optionValue(words: readonly string[], ...names: readonly string[]): string | undefined {
  const at = words.findIndex((word) => names.includes(word));
  return at < 0 ? undefined : words[at + 1];
}
