/**
 * `inn vm console`: the serial line in a raw terminal. Ctrl-] leaves, as with `virsh console` and telnet; every other key
 * goes to the guest. The terminal is put back however it ends.
 */
import type { Command } from "commander";
import { usageError } from "#cli-error.ts";
import { type ConsoleStream, openConsole } from "#console.ts";
import type { Invocation } from "#invocation.ts";
import { find } from "#lookup.ts";
import { addVerb, type Surroundings } from "#verb.ts";

const escapeByte = 0x1d; // Ctrl-], ASCII GS

export function addConsole(noun: Command, surroundings: Surroundings): void {
  addVerb(noun, surroundings, {
    usage: "console <vm>",
    summary: "Connect the terminal to a VM's serial console; Ctrl-] leaves it.",
    operations: ["vmConsole"],
    options: (command) =>
      command
        .option("--force", "disconnect whoever holds the console")
        .option(
          "--pipe",
          "no terminal: standard input goes to the guest, its output to standard output, until both end",
        ),
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
  await using console = await openConsole(api, { vmId: vm.id, force, signal: invocation.signal });
  if (!pipe) invocation.remark(`connected to ${vm.name}; Ctrl-] leaves\r\n`);
  const typing = new AbortController();
  const typed = typeInto(invocation, console, pipe, typing.signal);
  try {
    for await (const chunk of console.output) {
      if (!terminal.output.write(chunk)) await new Promise<void>((resolve) => terminal.output.once("drain", resolve));
    }
  } finally {
    typing.abort();
    await typed;
    if (!pipe) invocation.remark(`\r\ndisconnected from ${vm.name}\r\n`);
  }
}

/** Ends when the user leaves, or the console closes (`signal`). */
async function typeInto(
  invocation: Invocation,
  console: ConsoleStream,
  pipe: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { input } = invocation.terminal;
  if (!pipe) input.setRawMode?.(true);
  try {
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
      input.on("end", resolve);
      input.on("data", (chunk: Buffer) => {
        const at = pipe ? -1 : chunk.indexOf(escapeByte);
        const bytes = at < 0 ? chunk : chunk.subarray(0, at);
        if (bytes.length > 0) console.send(bytes);
        if (at >= 0) {
          console.close();
          resolve();
        }
      });
    });
  } finally {
    input.removeAllListeners("data");
    input.pause();
    if (!pipe) input.setRawMode?.(false);
  }
}
