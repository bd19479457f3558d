/** A command line run in this process, with what it printed and its exit code: for tests. */
import { PassThrough } from "node:stream";
import type { Environment } from "#config.ts";
import { run } from "#run.ts";
import type { Terminal } from "#terminal.ts";

export interface Captured {
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

export interface CapturedOptions {
  readonly environment?: Environment;
  readonly signal?: AbortSignal;
  /** What is piped in. */
  readonly input?: string;
  /** Called with all output so far, whenever there is more. */
  readonly onOutput?: (output: string) => void;
  /** Columns of a terminal on standard output; none: it is a pipe. */
  readonly columns?: number;
  /** Somebody types `input`. */
  readonly inputIsTerminal?: boolean;
  /** What the person types who sits before it while its input is a pipe. */
  readonly keyboard?: string;
  readonly timeoutMs?: number;
}

const commandTimeoutMs = 30_000;

export async function captured(argv: readonly string[], options: CapturedOptions = {}): Promise<Captured> {
  let output = "";
  let errors = "";
  const [outputStream, errorStream, input] = [new PassThrough(), new PassThrough(), new PassThrough()];
  outputStream.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    options.onOutput?.(output);
  });
  errorStream.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  input.end(options.input ?? "");
  const terminal: Terminal = {
    input,
    output: outputStream,
    errors: errorStream,
    outputIsTerminal: options.columns !== undefined,
    errorsIsTerminal: false,
    inputIsTerminal: options.inputIsTerminal === true,
    width: () => options.columns,
    openKeyboard: () => (options.keyboard === undefined ? undefined : new PassThrough().end(options.keyboard)),
  };
  const deadline = AbortSignal.timeout(options.timeoutMs ?? commandTimeoutMs);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  const exitCode = await run({ argv, version: "0.0.0", terminal, environment: options.environment ?? {}, signal });
  return { exitCode, output, errors };
}
