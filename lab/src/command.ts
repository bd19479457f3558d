/**
 * Runs a program to its end: an argument array (never a shell string), a signal and a deadline. A program that fails
 * becomes a CommandError that carries what it printed.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { text } from "node:stream/consumers";

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** SIGKILL after this time; 60 s unless told. */
  readonly timeoutMs?: number | undefined;
  /** What the program reads on its standard input; empty unless told. */
  readonly input?: string | undefined;
  readonly workingFolder?: string | undefined;
}

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
}

export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly argv: readonly string[];
  /** undefined if the program was killed or could not be started. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(argv: readonly string[], cause: string, exitCode: number | undefined, result: CommandResult) {
    const said = (result.stderr.trim() || result.stdout.trim()).split("\n").slice(-8).join("\n");
    super(`${argv.join(" ")}: ${cause}${said === "" ? "" : `: ${said}`}`);
    this.argv = argv;
    this.exitCode = exitCode;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
  }
}

const defaultTimeoutMs = 60_000;

/** Resolves when the program ended with exit code 0; rejects with CommandError, or with the signal's reason. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = "", ...args] = argv;
  options.signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(options.timeoutMs ?? defaultTimeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
  const child = spawn(program, args, {
    signal,
    killSignal: "SIGKILL",
    cwd: options.workingFolder,
    stdio: ["pipe", "pipe", "pipe"],
  });
  // A program that ends without reading its input is no error of ours.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const [stdout, stderr, ending] = await Promise.all([text(child.stdout), text(child.stderr), ended(child)]);
  if (ending.exitCode === 0) return { stdout, stderr };
  options.signal?.throwIfAborted();
  const cause = timeout.aborted ? `no end after ${options.timeoutMs ?? defaultTimeoutMs} ms` : ending.cause;
  throw new CommandError(argv, cause, ending.exitCode, { stdout, stderr });
}

interface Ending {
  readonly exitCode: number | undefined;
  readonly cause: string;
}

function ended(child: ChildProcess): Promise<Ending> {
  return new Promise((resolve) => {
    let failure: Error | undefined;
    child.on("error", (error) => {
      failure = error;
      // "close" never comes for a program that was not started.
      if (child.pid === undefined) resolve({ exitCode: undefined, cause: error.message });
    });
    child.on("close", (code, signalName) => {
      const cause = signalName === null ? `exit code ${code}` : `killed by ${signalName}`;
      resolve({ exitCode: code ?? undefined, cause: failure === undefined || code !== null ? cause : failure.message });
    });
  });
}
