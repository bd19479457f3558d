/** Runs a cmdlet of PowerCLI's and resolves with the exit code of its first error. */
import { usageError } from "#cli-error.ts";
import { Invocation, Options } from "#invocation.ts";
import { outputFormat } from "#output/format.ts";
import { bind } from "#powercli/bind.ts";
import { CmdletRun, StoppedError } from "#powercli/cmdlet-run.ts";
import { helpText } from "#powercli/help.ts";
import { ObjectWriter } from "#powercli/object-writer.ts";
import { cmdletAt, cmdletNamed, cmdletNames, cmdlets, insteadOf } from "#powercli/table.ts";
import { given } from "#option/given.ts";
import type { Surroundings } from "#verb.ts";

export async function runCmdlet(parts: Surroundings & { readonly argv: readonly string[] }): Promise<number> {
  const { argv, ...surroundings } = parts;
  const at = cmdletAt(argv);
  const word = argv[at] ?? "";
  const load = cmdlets[cmdletNamed(word) ?? ""];
  if (load === undefined) throw noCmdlet(word);
  const cmdlet = await load();
  const bound = bind(cmdlet, argv.toSpliced(at, 1));
  if (bound.wantsHelp) {
    surroundings.terminal.output.write(helpText(cmdlet));
    return 0;
  }
  const format = bound.output === undefined ? undefined : outputFormat(bound.output);
  const options = new Options(given({ output: format, server: bound.text("Server") }));
  using invocation = new Invocation({ ...surroundings, options });
  const writer = new ObjectWriter(invocation, format);
  const run = new CmdletRun(cmdlet, bound, invocation, writer);
  try {
    // What ends the cmdlet as a whole is one more error, after what was done before it.
    await run.attempt(async () => await cmdlet.run(run));
  } catch (error) {
    if (!(error instanceof StoppedError)) throw error;
  }
  await writer.end(run.failures.length > 0);
  return run.failures[0]?.detail.exitCode ?? 0;
}

function noCmdlet(word: string): Error {
  const [, noun = ""] = word.toLowerCase().split("-");
  const near = cmdletNames.filter((name) => name.toLowerCase().endsWith(`-${noun}`));
  const known = near.length > 0 ? `There is ${near.join(", ")}.` : "`inn powercli` lists what there is.";
  return usageError(`there is no ${word}`, insteadOf(word) ?? known);
}
