/** What programs that work on a state folder, without a server, have in common: its option, and their errors. */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { errorCode } from "@innkeeper/contract/error-code.ts";
import { AppError } from "@innkeeper/server/core/app-error.ts";
import type { StoreUrl } from "@innkeeper/server/app/state/store-location.ts";
import { asAppError } from "@innkeeper/server/app/state/restore.ts";
import { runCommand } from "#program/command-line.ts";
import type { ProgramContext } from "#program-name.ts";

/** As `inn up` has it (packages/server/src/app/config.ts). */
const defaultState = "/var/lib/innkeeper";

export function stateOption(): Option {
  return new Option("--state <folder>", "the state folder").env("INN_STATE").default(defaultState);
}

export function storeOption(): Option {
  return new Option("--store <url>", "postgres://USER@HOST/DATABASE, where the store is not in the state folder").env(
    "INN_STORE",
  );
}

export function storePasswordOption(flag = "store"): Option {
  return new Option(`--${flag}-password-file <file>`, "the database's password, instead of one in the URL");
}

/** undefined: the store is in the state folder. */
export function storeUrl(url: unknown, passwordFile: unknown): StoreUrl | undefined {
  if (typeof url !== "string" || url === "") return undefined;
  if (typeof passwordFile !== "string") return { url };
  try {
    return { url, password: readFileSync(passwordFile, "utf8").trimEnd() };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError("not_found", `${passwordFile} can't be read: ${why}. Nothing was changed.`, { cause: error });
  }
}

/** Runs the command; what `work` throws is said with what to do about it, and ends with the table's exit code. */
export async function runOffline(
  command: Command,
  argv: readonly string[],
  { signal }: ProgramContext,
  work: (options: Readonly<Record<string, unknown>>, ...args: string[]) => Promise<void>,
): Promise<number> {
  let code = 0;
  command.action(async () => {
    const options: Record<string, unknown> = command.opts();
    try {
      await work(options, ...command.args);
    } catch (error) {
      const known = asAppError(error, String(options["state"]));
      if (!(known instanceof AppError)) throw error;
      process.stderr.write(`error: ${known.message}\n  what to do: ${known.remedy ?? errorCode[known.code].remedy}\n`);
      code = errorCode[known.code].exitCode;
    }
  });
  const ended = await runCommand(command, argv, signal);
  return ended === 0 ? code : ended;
}
