/**
 * `inn vm console`: the serial line in a raw terminal. Ctrl-] leaves, as with `virsh console` and telnet; every other key
 * goes to the guest. The terminal is put back however it ends.
 */
import type { Command } from "commander";
import { usageError } from "#cli-error.ts";
import { type ConsoleStream, openConsole } from "#console.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import type { Terminal } from "#terminal.ts";
import { addVerb, type Surroundings } from "#verb.ts";

const escapeByte = 0x1d; // Ctrl-], ASCII GS
const lingerMs = 1000;

export function addConsole(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "console <vm>",
    summary: "Connect the terminal to a VM's serial console; Ctrl-] leaves it.",
    operations: ["vmConsole"],
    options: (command) =>
      command
        .option("--force", "disconnect whoever holds the console")
        .option("--pipe", "for scripts: sends standard input to the guest and prints what the guest says")
        .option("--linger <duration>", "with --pipe: ends when the guest was silent for so long (default: 1s)"),
    examples: ["vm console web", "echo 'uptime' | inn vm console web --pipe"],
    run: runConsole,
  });
}

async function runConsole(invocation: Invocation, name: string): Promise<void> {
  const { terminal, api, options } = invocation;
  const pipe = options.flag("pipe") === true;
  if (!pipe && !(terminal.inputIsTerminal && terminal.outputIsTerminal)) {
    throw usageError("a console needs a terminal", "Run it in one, or say --pipe to use it in a script.");
  }
  const vm = await find(api, "vm", name);
  const force = options.flag("force") === true;
  if (!pipe) return await attachConsole(invocation, vm, force);
  await using console = await openConsole(api, { vmId: vm.id, force, signal: invocation.signal });
  await pipeThrough(invocation, console, options.durationMs("linger") ?? lingerMs);
}

/** The terminal on the guest's serial line, until the user leaves or the guest stops. */
export async function attachConsole(
  invocation: Invocation,
  vm: { readonly id: string; readonly name: string },
  force = false,
): Promise<void> {
  const { terminal, api } = invocation;
  await using console = await openConsole(api, { vmId: vm.id, force, signal: invocation.signal });
  invocation.remark(`connected to ${vm.name}; Ctrl-] leaves\r\n`);
  const ended = new AbortController();
  const typed = typeInto(terminal, console, ended.signal);
  try {
    await writeOutput(terminal, console);
  } finally {
    ended.abort();
    await typed;
    invocation.remark(`\r\ndisconnected from ${vm.name}\r\n`);
  }
}

async function writeOutput(terminal: Terminal, console: ConsoleStream, onChunk?: () => void): Promise<void> {
  for await (const chunk of console.output) {
    onChunk?.();
    if (!terminal.output.write(chunk)) await new Promise<void>((resolve) => terminal.output.once("drain", resolve));
  }
}

/** Ends when the user leaves, or the console closes (`signal`). */
async function typeInto(terminal: Terminal, console: ConsoleStream, signal: AbortSignal): Promise<void> {
  const { input } = terminal;
  input.setRawMode?.(true);
  try {
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      input.on("end", resolve);
      input.on("data", (chunk: Buffer) => {
        const at = chunk.indexOf(escapeByte);
        const bytes = at < 0 ? chunk : chunk.subarray(0, at);
        if (bytes.length > 0) console.send(bytes);
        if (at < 0) return;
        console.close();
        resolve();
      });
    });
  } finally {
    input.removeAllListeners("data");
    input.pause();
    input.setRawMode?.(false);
  }
}

/** All of standard input goes to the guest; then it ends as soon as the guest has been silent for a while. */
async function pipeThrough(invocation: Invocation, console: ConsoleStream, silenceMs: number): Promise<void> {
  const { input } = invocation.terminal;
  let silence: NodeJS.Timeout | undefined;
  let isSent = false;
  const restart = (): void => {
    clearTimeout(silence);
    if (isSent) silence = setTimeout(() => console.close(), silenceMs);
  };
  const send = async (): Promise<void> => {
    for await (const chunk of input as AsyncIterable<Buffer>) console.send(chunk);
    isSent = true;
    restart();
  };
  try {
    await Promise.all([send(), writeOutput(invocation.terminal, console, restart)]);
  } finally {
    clearTimeout(silence);
  }
}
