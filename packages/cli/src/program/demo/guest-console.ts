/**
 * A shell in a guest, through its serial console and our WebSocket: sends commands, waits for what they print. Everything
 * the console said is kept in a file, for the one who has to find out why something did not come.
 */
import { appendFileSync } from "node:fs";
import type { ApiClient } from "#client.ts";
import { type ConsoleStream, openConsole } from "#console.ts";

interface GuestConsoleOptions {
  readonly vmId: string;
  /** What the console says is added to this file. */
  readonly logFile: string;
  readonly signal: AbortSignal;
}

const commandTimeoutMs = 20_000;

export class GuestConsole implements AsyncDisposable {
  readonly #stream: ConsoleStream;
  readonly #logFile: string;
  readonly #signal: AbortSignal;
  readonly #reading: Promise<void>;
  #text = "";
  #wake: (() => void)[] = [];
  #isOver = false;
  #commandCount = 0;

  private constructor(stream: ConsoleStream, options: GuestConsoleOptions) {
    this.#stream = stream;
    this.#logFile = options.logFile;
    this.#signal = options.signal;
    this.#reading = this.#read();
  }

  static async open(api: ApiClient, options: GuestConsoleOptions): Promise<GuestConsole> {
    return new GuestConsole(await openConsole(api, { ...options, force: true }), options);
  }

  /** Everything that it said so far. */
  get text(): string {
    return this.#text;
  }

  /** The first match from `from` (an index into `text`) on, in what it said or will say. */
  async expect(what: string, pattern: RegExp, timeoutMs: number, from = 0): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([this.#signal, deadline]);
    for (;;) {
      const match = pattern.exec(this.#text.slice(from));
      if (match !== null) return match;
      if (this.#isOver) throw new Error(`the console closed before ${what}; it ended with: ${this.#tail()}`);
      await this.#more(signal);
      this.#signal.throwIfAborted();
      if (deadline.aborted)
        throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}; the console ended with: ${this.#tail()}`);
    }
  }

  /** Runs a command in the guest's shell; resolves with what it printed, rejects unless it succeeded. */
  async run(command: string, timeoutMs = commandTimeoutMs): Promise<string> {
    this.#commandCount += 1;
    const mark = `${this.#commandCount}`;
    const from = this.#text.length;
    // The quotes keep the echo of this line from looking like the marks.
    this.#stream.send(`echo "be""gin-${mark}"; ${command}; echo "en""d-${mark} $?"\n`);
    const end = await this.expect(
      `the end of "${command}"`,
      new RegExp(`^end-${mark} (\\d+)\\r?$`, "m"),
      timeoutMs,
      from,
    );
    const output = this.#text.slice(from, from + end.index);
    const lines = output
      .slice(output.lastIndexOf(`begin-${mark}`))
      .split(/\r?\n/)
      .slice(1);
    const printed = lines
      .filter((line) => !line.startsWith("INNKEEPER-GUEST "))
      .join("\n")
      .trim();
    if (end[1] !== "0") throw new Error(`"${command}" in the guest ended with ${end[1]}: ${printed}`);
    return printed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream[Symbol.asyncDispose]();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of this.#stream.output) {
        const text = decoder.decode(chunk, { stream: true });
        this.#text += text;
        appendFileSync(this.#logFile, text);
        this.#wakeAll();
      }
    } catch (error) {
      this.#text += `\n[${error instanceof Error ? error.message : String(error)}]`;
    } finally {
      this.#isOver = true;
      this.#wakeAll();
    }
  }

  #wakeAll(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  async #more(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake.push(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  #tail(): string {
    return JSON.stringify(this.#text.slice(-300));
  }
}
