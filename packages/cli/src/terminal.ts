/** The terminal as commands see it: two streams, a width, and questions that are only asked where somebody can answer. */
import { openSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { ReadStream } from "node:tty";

export interface Terminal {
  readonly input: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly output: Writable;
  readonly errors: Writable;
  /** Whether people look at standard output, at standard error, and type on standard input. */
  readonly outputIsTerminal: boolean;
  readonly errorsIsTerminal: boolean;
  readonly inputIsTerminal: boolean;
  /** Columns of standard output; undefined when it is no terminal. */
  readonly width: () => number | undefined;
  /** The keyboard of the person who started it, where standard input is a pipe; undefined: there is nobody. */
  readonly openKeyboard?: () => Terminal["input"] | undefined;
}

export function processTerminal(): Terminal {
  return {
    input: process.stdin,
    output: process.stdout,
    errors: process.stderr,
    // isTTY is undefined, not false, where there is no terminal.
    outputIsTerminal: process.stdout.isTTY === true,
    errorsIsTerminal: process.stderr.isTTY === true,
    inputIsTerminal: process.stdin.isTTY === true,
    width: () => (process.stdout.isTTY === true ? process.stdout.columns : undefined),
    openKeyboard: () => (process.stderr.isTTY === true ? controllingTerminal() : undefined),
  };
}

/** A process without one (cron, a service) can't open it. */
function controllingTerminal(): ReadStream | undefined {
  try {
    return new ReadStream(openSync("/dev/tty", "r"));
  } catch {
    return undefined;
  }
}

/** Asks for a line. Rejects when the signal aborts, or the user gives up (Ctrl-C, Ctrl-D). */
export async function ask(terminal: Terminal, question: string, signal: AbortSignal): Promise<string> {
  const { createInterface } = await import("node:readline/promises");
  const reader = createInterface({
    input: terminal.input,
    output: terminal.errors,
    terminal: terminal.inputIsTerminal,
  });
  const gaveUp = new AbortController();
  reader.once("SIGINT", () => gaveUp.abort());
  reader.once("close", () => gaveUp.abort());
  try {
    return await reader.question(question, { signal: AbortSignal.any([signal, gaveUp.signal]) });
  } finally {
    reader.close();
  }
}

/** Asks for a secret without showing it. Ends with the line; Ctrl-C, Ctrl-D and the end of input give up (undefined). */
export async function askSecret(terminal: Terminal, question: string): Promise<string | undefined> {
  const { input, errors } = terminal;
  errors.write(question);
  input.setRawMode?.(true);
  const line = new SecretLine();
  try {
    return await new Promise<string | undefined>((resolve) => {
      input.on("data", (chunk: Buffer) => {
        for (const character of chunk.toString("utf8")) {
          const ended = line.type(character);
          if (ended !== undefined) resolve(ended.secret);
        }
      });
      input.once("end", () => resolve(undefined));
      input.resume();
    });
  } finally {
    input.removeAllListeners("data");
    input.setRawMode?.(false);
    input.pause();
    errors.write("\n");
  }
}

/** A line that is typed in raw mode, with the editing keys that a terminal's own line has. */
class SecretLine {
  #text = "";

  /** The line's end; undefined while it goes on. */
  type(character: string): { readonly secret: string | undefined } | undefined {
    if (character === "\r" || character === "\n") return { secret: this.#text };
    if (character === "\u0003" || character === "\u0004") return { secret: undefined };
    if (character === "\u007f" || character === "\b") this.#text = [...this.#text].slice(0, -1).join("");
    else if (character === "\u0015") this.#text = "";
    else this.#text += character;
    return undefined;
  }
}
