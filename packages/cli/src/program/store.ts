/** `inn store migrate`: the store of the control plane, moved from the state folder into PostgreSQL, back, or to another one. */
import { AppError } from "@innkeeper/server/core/app-error.ts";
import { moveStore } from "@innkeeper/server/app/state/move.ts";
import { programCommand } from "#program/command-line.ts";
import { runOffline, stateOption, storeOption, storePasswordOption, storeUrl } from "#program/offline.ts";
import type { ProgramContext } from "#program-name.ts";

const embedded = "sqlite";

export async function store(argv: readonly string[], context: ProgramContext): Promise<number> {
  const [verb, ...rest] = argv;
  if (verb === "migrate") return migrate(rest, context);
  const root = programCommand("inn store", "The store of the control plane.");
  root.command("migrate").description("Move it to another place, without loss.");
  root.outputHelp();
  return verb === undefined || verb === "--help" || verb === "-h" ? 0 : 64; // EX_USAGE, sysexits.h
}

async function migrate(argv: readonly string[], context: ProgramContext): Promise<number> {
  const command = programCommand("inn store migrate", "Move the control plane's store to another place, without loss.")
    .requiredOption("--to <place>", `postgres://USER@HOST/DATABASE, or ${embedded}: a file in the state folder`)
    .addOption(storePasswordOption("to"))
    .addOption(stateOption())
    .addOption(storeOption())
    .addOption(storePasswordOption())
    .addHelpText(
      "after",
      `
All servers that use the store must be stopped. The target must be empty. Everything is copied and compared by number of
rows and by content before it counts; the old store is then put aside, not deleted: a file goes into a folder old-… in
the state folder, a database keeps it in a schema innkeeper_moved_…. Interrupted, it is simply run again.
The key file and the certificates stay in the state folder. Afterwards: inn up --store postgres://….
See docs/high-availability.md.

Examples:
  inn store migrate --to postgres://innkeeper@db.example/innkeeper --to-password-file /root/db.password
  inn store migrate --store postgres://innkeeper@db.example/innkeeper --to ${embedded}`,
    );
  return runOffline(command, argv, context, async (options) => {
    const from = storeUrl(options["store"], options["storePasswordFile"]);
    const to = options["to"] === embedded ? undefined : storeUrl(options["to"], options["toPasswordFile"]);
    if (from !== undefined && from.url === to?.url) {
      throw new AppError("bad_request", "--store and --to are the same; nothing was changed.", { field: "to" });
    }
    const { content, aside } = await moveStore({
      stateFolder: String(options["state"]),
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      onProgress: (message) => process.stderr.write(`${message}\n`),
    });
    for (const [table, { rows, digest }] of Object.entries(content)) {
      console.log(
        `${table.padEnd(8)}  ${String(rows).padStart(8)} rows  SHA-256 ${digest.slice(0, 16)}… the same in both`,
      );
    }
    console.log(`The old store is kept: ${aside}`);
    console.log(to === undefined ? "Start it with `inn up`." : "Start it with `inn up --store …`.");
  });
}
