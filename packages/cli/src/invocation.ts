/** What a verb gets when it runs: the API, the terminal, its options. Made once per command; nothing here is global. */
import { parseSizeBytes } from "@innkeeper/contract/unit.ts";
import { ApiClient } from "#client.ts";
import { usageError, valueError } from "#cli-error.ts";
import { chooseServer, type ChosenServer, configFile, type Environment, readConfig } from "#config.ts";
import { documentText, isForPeople, type OutputFormat, outputFormat } from "#output/format.ts";
import type { Terminal } from "#terminal.ts";

/** Options as they were typed, read by name and type. Names are camelCase, as commander makes them from `--kebab-case`. */
export class Options {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  /** Of an option that may be repeated. */
  texts(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.map(String) : [];
  }

  /** true and false as typed (`--x`, `--no-x`), undefined when neither was. */
  flag(name: string): boolean | undefined {
    const value = this.#values[name];
    return typeof value === "boolean" ? value : undefined;
  }

  integer(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : integerOf(text, `--${kebab(name)}`);
  }

  /** Whole MiB; a bare number is MiB. */
  sizeMiB(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : sizeMiBOf(text, `--${kebab(name)}`);
  }

  /** Bytes; a bare number is GiB, as disks are asked for. */
  diskBytes(name: string): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : diskBytesOf(text, `--${kebab(name)}`);
  }

  /** `90`, `90s`, `5m`, `1h`, `7d`; a bare number is in seconds. */
  durationMs(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim());
    const factor = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? "s"];
    if (match === null || factor === undefined) {
      throw valueError(`--${kebab(name)}`, `"${text}" is no duration`, "Write it like 90, 90s, 5m, 1h or 7d.");
    }
    return Math.round(Number(match[1]) * factor);
  }
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function integerOf(text: string, option: string): number {
  if (!/^-?\d+$/.test(text.trim()) || !Number.isSafeInteger(Number(text))) {
    throw valueError(option, `"${text}" is no whole number`);
  }
  return Number(text);
}

export function sizeMiBOf(text: string, option: string): number {
  const bytes = parseSizeBytes(text, "m");
  if (bytes === undefined) throw valueError(option, `"${text}" is no size`, "Write it like 4G, 512M or 4096 (MiB).");
  const sizeMiB = bytes / 1024 ** 2;
  if (!Number.isInteger(sizeMiB)) throw valueError(option, `${text} is not a whole number of MiB`);
  return sizeMiB;
}

export function diskBytesOf(text: string, option: string): number {
  const bytes = parseSizeBytes(text, "g");
  if (bytes === undefined)
    throw valueError(option, `"${text}" is no size`, "Write it like 20G, 512M or 1.5T; 20 is 20 GiB.");
  return bytes;
}

interface InvocationParts {
  readonly options: Options;
  readonly terminal: Terminal;
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

export class Invocation implements Disposable {
  readonly options: Options;
  readonly terminal: Terminal;
  readonly environment: Environment;
  /** Aborts when the user or the system ends the command. */
  readonly signal: AbortSignal;
  readonly format: OutputFormat;
  #api: ApiClient | undefined;

  constructor(parts: InvocationParts) {
    this.options = parts.options;
    this.terminal = parts.terminal;
    this.environment = parts.environment;
    this.signal = parts.signal;
    this.format = outputFormat(parts.options.text("output") ?? "table");
  }

  get server(): ChosenServer {
    return chooseServer(readConfig(this.configFile), this.options.text("server"), this.environment);
  }

  get configFile(): string {
    return configFile(this.environment);
  }

  /** Reads the configuration at its first use. */
  get api(): ApiClient {
    this.#api ??= new ApiClient(this.server.connection, this.signal);
    return this.#api;
  }

  get isForPeople(): boolean {
    return isForPeople(this.format);
  }

  print(text: string): void {
    this.terminal.output.write(text);
  }

  /** A remark for people, on standard error: it never mixes with what a program reads. */
  remark(text: string): void {
    this.terminal.errors.write(text);
  }

  /** Prints a resource: as `text` for people, else as `-o` says. */
  async show(document: unknown, text: () => string | Promise<string>): Promise<void> {
    this.print(this.isForPeople ? await text() : await documentText(this.format, document));
  }

  /** Refuses to go on unless the user agrees; without a terminal, `--yes` is needed. */
  async confirm(question: string): Promise<void> {
    if (this.options.flag("yes") === true) return;
    if (!this.terminal.inputIsTerminal)
      throw usageError(`${question} Not asked, as there is no terminal.`, "Say --yes.");
    const { ask } = await import("#terminal.ts");
    const answer = await ask(this.terminal, `${question} [y/N] `, this.signal);
    if (!/^y(es)?$/i.test(answer.trim())) throw usageError("Nothing was done.");
  }

  [Symbol.dispose](): void {
    this.#api?.[Symbol.dispose]();
  }
}
