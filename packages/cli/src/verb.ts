/**
 * How verbs are declared: their usage, the API operations they stand for, and what runs. A test walks the tree that comes of
 * it and finds every endpoint of the contract reached. Options that many verbs share are here, so that they are the same
 * everywhere.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { OperationId } from "@innkeeper/contract/endpoint/table.ts";
import { CliError } from "#cli-error.ts";
import { Invocation, Options } from "#invocation.ts";
import { outputFormats } from "#output/format.ts";
import type { Environment } from "#config.ts";
import type { Terminal } from "#terminal.ts";

interface Verb {
  /** commander's syntax: `clone <vm> <name>`. An argument named as a noun is completed with names from the server. */
  readonly usage: string;
  readonly summary: string;
  /** The operations of the API that this verb gives access to. */
  readonly operations: readonly OperationId[];
  /** Command lines without the leading `inn`. */
  readonly examples?: readonly string[];
  readonly details?: string;
  readonly alias?: string;
  readonly options?: (command: Command) => Command;
  /** Arguments in order; variadic ones are spread at the end. */
  readonly run: (invocation: Invocation, ...args: string[]) => Promise<void>;
  /** The option that stands for a field of the request. */
  readonly fieldOption?: (field: string) => string;
}

/** What the process gives to the command tree. */
export interface Surroundings {
  readonly terminal: Terminal;
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

const verbs = new WeakMap<Command, Verb>();

/** The declaration of a command made by `addVerb`. */
export function verbOf(command: Command): Verb | undefined {
  return verbs.get(command);
}

export function addVerb(parent: Command, surroundings: Surroundings, verb: Verb): Command {
  const command = parent.command(verb.usage).description(verb.summary);
  if (verb.alias !== undefined) command.alias(verb.alias);
  verb.options?.(command);
  const examples = (verb.examples ?? []).map((line) => `  inn ${line}`);
  if (verb.details !== undefined) command.addHelpText("after", `\n${verb.details}`);
  if (examples.length > 0) command.addHelpText("after", `\nExamples:\n${examples.join("\n")}`);
  verbs.set(command, verb);
  command.action(async () => {
    using invocation = new Invocation({ ...surroundings, options: new Options(command.optsWithGlobals()) });
    const args = command.processedArgs.flat().filter((argument): argument is string => typeof argument === "string");
    try {
      await verb.run(invocation, ...args);
    } catch (error) {
      const field = error instanceof CliError ? error.detail.field : undefined;
      if (!(error instanceof CliError) || field === undefined || verb.fieldOption === undefined) throw error;
      // What the CLI itself found names the option already.
      throw /^[-<]/.test(field) ? error : error.withOption(verb.fieldOption(field));
    }
  });
  return command;
}

export function addNoun(parent: Command, name: string, summary: string): Command {
  return parent.command(name).description(summary);
}

/** Options of every command. */
export function globalOptions(command: Command): Command {
  return command
    .addOption(new Option("-o, --output <format>", "how to print").choices(outputFormats).default("table"))
    .option("-s, --server <server>", "a saved server's name, or a URL (also INN_SERVER)");
}

export function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function positive(text: string): string {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("It must be a whole number above 0.");
  return text;
}

export function listOptions(command: Command): Command {
  return command
    .option(
      "--filter <condition>",
      "only what matches: field=value, != < <= > >= ~ (contains), tag:x, text, and, or, not, (…): docs/filter.md",
    )
    .option("--sort <fields>", "by these fields; -field for descending")
    .option("--limit <n>", "at most so many", positive)
    .option("--columns <names>", "only these columns, comma-separated")
    .option("--fields <paths>", "with -o json and yaml: only these fields, comma-separated")
    .option("-w, --watch", "stay and show changes as they happen");
}

export function taskOptions(command: Command): Command {
  return command
    .option("--no-wait", "print the task's id and return at once")
    .option("--timeout <duration>", "stop waiting after this time (the task goes on): 90, 5m, 1h");
}

export function revisionOption(command: Command): Command {
  return command.option("--if-revision <n>", "only if it is still at this revision, as `show -o json` told it");
}

export function confirmOption(command: Command): Command {
  return command.option("-y, --yes", "do not ask");
}
