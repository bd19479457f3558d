/** How programs read their words: commander's errors and those of the program become exit codes, each said once. */
import { Command, CommanderError } from "commander";

/** A command that throws instead of ending the process. */
export function programCommand(name: string, summary: string): Command {
  return new Command(name).description(summary).exitOverride().showSuggestionAfterError(true);
}

/** Resolves with the exit code: 64 (EX_USAGE, sysexits.h) for words that are not understood. */
export async function runCommand(command: Command, argv: readonly string[], signal: AbortSignal): Promise<number> {
  try {
    await command.parseAsync([...argv], { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 64;
    if (signal.aborted) return 130; // 128 + SIGINT, as shells count
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}
