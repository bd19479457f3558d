/** Runs one command line of a client verb and resolves with its exit code. Nothing here ends the process. */
import { Command, CommanderError } from "commander";
import { errorCode } from "@innkeeper/contract/error-code.ts";
import { CliError, errorDocument, errorText } from "#cli-error.ts";
import { addBackup } from "#command/backup.ts";
import { addCompletion } from "#command/completion.ts";
import { addPowerCli } from "#command/powercli.ts";
import { addSession } from "#command/session.ts";
import { addVirtInstall } from "#command/virt-install.ts";
import { nouns } from "#noun.ts";
import { cmdletAt } from "#powercli/table.ts";
import { programSummary } from "#program-name.ts";
import { addNoun, globalOptions, type Surroundings } from "#verb.ts";

interface RunParts extends Surroundings {
  /** Without node and script. */
  readonly argv: readonly string[];
  readonly version: string;
}

/** The whole command tree; of the nouns only those in `loaded` have their verbs. */
export async function commandTree(
  surroundings: Surroundings & { readonly version: string },
  loaded: (noun: string) => boolean,
): Promise<Command> {
  const root = new Command("inn")
    .description("Innkeeper: plain Linux servers with libvirt as one datacenter.")
    .version(surroundings.version, "-V, --version")
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      writeOut: (text) => surroundings.terminal.output.write(text),
      writeErr: (text) => surroundings.terminal.errors.write(text),
    })
    .showSuggestionAfterError(true)
    .helpCommand("help [command]", "Show help for a command.");
  globalOptions(root);
  addSession(root, surroundings);
  addBackup(root, surroundings);
  for (const [name, noun] of Object.entries(nouns)) {
    const command = addNoun(root, name, noun.summary);
    if (loaded(name)) (await noun.load())(command, surroundings);
  }
  addVirtInstall(root, surroundings);
  addPowerCli(root, surroundings);
  addCompletion(root, surroundings);
  for (const [name, summary] of Object.entries(programSummary)) root.command(name).description(summary);
  root.addHelpText(
    "after",
    `
Start here:
  inn demo                                real guests on two real hosts, on this machine
  inn up                                  run the control plane
  inn login                               log in to it
  inn host add qemu+ssh://root@kvm1/system
  inn vm create web --memory 2G --disk 20G --network default --start

virt-install's command lines run as they are: inn virt-install --name web --memory 2048 --disk size=20 …
PowerCLI's cmdlets run as they are typed: inn Get-VM, inn New-Snapshot -VM web -Name s1. \`inn powercli\` lists them.

Environment: INN_SERVER, INN_TOKEN, INN_CA_FILE, INN_PASSWORD (login only). Exit codes and more: docs/cli.md.`,
  );
  return root;
}

export async function run(parts: RunParts): Promise<number> {
  try {
    if (parts.argv[0] === "virt-install") return await (await import("#virt-install/run.ts")).runVirtInstall(parts);
    return cmdletAt(parts.argv) < 0 ? await runVerb(parts) : await (await import("#powercli/run.ts")).runCmdlet(parts);
  } catch (error) {
    return report(error, parts);
  }
}

async function runVerb(parts: RunParts): Promise<number> {
  const root = await commandTree(parts, (noun) => parts.argv.includes(noun));
  if (parts.argv.length === 0) root.help();
  await root.parseAsync([...parts.argv], { from: "user" });
  return 0;
}

function report(error: unknown, parts: RunParts): number {
  // commander has printed its own; 0 is --help and --version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : errorCode.bad_request.exitCode;
  if (parts.signal.aborted && !(error instanceof CliError)) return errorCode.cancelled.exitCode;
  const { errors } = parts.terminal;
  if (error instanceof CliError && wantsJson(parts.argv))
    errors.write(`${JSON.stringify(errorDocument(error), undefined, 2)}\n`);
  else errors.write(errorText(error));
  return error instanceof CliError ? error.detail.exitCode : errorCode.internal.exitCode;
}

function wantsJson(argv: readonly string[]): boolean {
  return argv.some(
    (word, index) =>
      word === "-ojson" ||
      word === "--output=json" ||
      (word === "json" && /^(-o|--output)$/.test(argv[index - 1] ?? "")),
  );
}
