/** `inn restore FILE`: brings back what `inn backup-config`, or the daily backup, has saved. */
import { constants, createReadStream } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { AppError } from "@innkeeper/server/core/app-error.ts";
import { restoreState } from "@innkeeper/server/app/state/restore.ts";
import { countText } from "@innkeeper/server/app/state/state-count.ts";
import { programCommand } from "#program/command-line.ts";
import { runOffline, stateOption, storeOption, storePasswordOption, storeUrl } from "#program/offline.ts";
import type { ProgramContext } from "#program-name.ts";
import { askSecret, processTerminal } from "#terminal.ts";

export async function restore(argv: readonly string[], context: ProgramContext): Promise<number> {
  const command = programCommand("inn restore", "Bring a backup of the control plane back.")
    .argument("<file>", "what `inn backup-config` or the daily backup wrote; `-` is standard input")
    .addOption(stateOption())
    .addOption(storeOption())
    .addOption(storePasswordOption())
    .option("--password-file <file>", "file with the backup's password (default: INN_PASSWORD, or it is asked for)")
    .option("--check", "read and check all of it, and change nothing; may be done while a server runs")
    .addHelpText(
      "after",
      `
The backup is unpacked and checked before anything is changed. The present state is moved aside into a folder old-… in
the state folder (with --store: a schema innkeeper_old_… in the database), not deleted. What the hosts have is newer than any backup: when the server starts, it asks them and
corrects what it knows of VMs and snapshots; tasks that were under way when the backup was made are ended, not resumed.
See docs/backup-and-recovery.md.`,
    );
  return runOffline(command, argv, context, async (options, file = "") => {
    if (file !== "-") await access(file, constants.R_OK).catch(refuseFile(file));
    const store = storeUrl(options["store"], options["storePasswordFile"]);
    const report = await restoreState({
      stateFolder: String(options["state"]),
      ...(store === undefined ? {} : { store }),
      content: file === "-" ? process.stdin : createReadStream(file),
      password: () => password(options["passwordFile"], file),
      checkOnly: options["check"] === true,
    });
    const { version, createdAt } = report.head;
    const about = `the backup of ${createdAt} (Innkeeper ${version}): ${countText(report.count)}`;
    if (options["check"] === true) console.log(`whole and sound: ${about}`);
    else {
      console.log(`restored ${about}`);
      for (const aside of report.aside) console.log(`what was there before is in ${aside}`);
      console.log("Start it with `inn up`; it asks the hosts what has changed since.");
    }
  });
}

function refuseFile(file: string): (error: unknown) => never {
  return (error) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError("not_found", `${file} can't be read: ${why}. Nothing was changed.`, { cause: error });
  };
}

async function password(file: unknown, backup: string): Promise<string> {
  if (typeof file === "string") {
    return (await readFile(file, "utf8").catch(refuseFile(file))).replace(/\r?\n$/, "");
  }
  const fromEnvironment = process.env["INN_PASSWORD"];
  if (fromEnvironment !== undefined && fromEnvironment !== "") return fromEnvironment;
  const terminal = processTerminal();
  const typed =
    terminal.inputIsTerminal && backup !== "-" ? await askSecret(terminal, "Password of the backup: ") : undefined;
  if (typed !== undefined) return typed;
  throw new AppError("bad_request", "The backup is encrypted with a password, and there is nobody to ask for it.", {
    remedy: "Give it with --password-file or in INN_PASSWORD.",
  });
}
