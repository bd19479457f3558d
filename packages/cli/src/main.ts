/**
 * The entry of `inn`. Loads as little as the command line needs: `--version` loads nothing, client verbs no server code,
 * programs (`up`, `demo`, `lab`, `test`) no client code. The launcher has compiled code cached below node_modules.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { isProgramName } from "#program-name.ts";

const packageFolder = path.resolve(import.meta.dirname, "..");

const argv = process.argv.slice(2);
const [first = ""] = argv;
const interrupted = new AbortController();

if (first === "--version" || first === "-V") {
  process.stdout.write(`inn ${version()}\n`);
} else {
  listenForSignals();
  process.exitCode = await start();
}

function version(): string {
  const document = JSON.parse(readFileSync(path.join(packageFolder, "package.json"), "utf8")) as { version: string };
  return document.version;
}

async function start(): Promise<number> {
  if (isProgramName(first)) {
    const { programs } = await import("#program/table.ts");
    const program = await programs[first]();
    return await program(argv.slice(1), { signal: interrupted.signal });
  }
  const [{ run }, { processTerminal }] = await Promise.all([import("#run.ts"), import("#terminal.ts")]);
  return await run({
    argv,
    version: version(),
    terminal: processTerminal(),
    environment: process.env,
    signal: interrupted.signal,
  });
}

/** The first signal asks the command to end in good order, the second ends it at once. */
function listenForSignals(): void {
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    // The control plane has its own meaning for it.
    ...(first === "up" ? [] : [["SIGHUP", 129] as const]),
  ] as const) {
    process.on(name, () => {
      if (interrupted.signal.aborted) process.exit(code);
      interrupted.abort(new Error(`ended by ${name}`));
    });
  }
  // `inn vm list | head`: the reader has what it wanted.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 74)); // EX_IOERR
}
