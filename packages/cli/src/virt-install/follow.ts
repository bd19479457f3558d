/**
 * After the start: the console, the wait for the end of the installation, the restart into what was installed. Facts:
 * virtinst/virtinstall.py `_process_domain`, 4.1. The VM is Innkeeper's by then: whatever happens here, it stays.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Vm } from "@innkeeper/contract/resource/vm.ts";
import { isActive } from "@innkeeper/contract/state/vm.ts";
import { tableError } from "#cli-error.ts";
import { attachConsole } from "#command/vm-console.ts";
import type { Invocation } from "#invocation.ts";
import { requireSuccess, watchTask } from "#task.ts";

interface FollowOptions {
  readonly consoleType: "text" | "none";
  /** Negative: for ever; undefined: not at all. */
  readonly waitMinutes: number | undefined;
  readonly isInstallation: boolean;
  /** Into the installed system, when the installer has ended. */
  readonly restarts: boolean;
  /** Powered off when the console is left. */
  readonly endsWithConsole: boolean;
  readonly isQuiet: boolean;
}

interface Named {
  readonly id: string;
  readonly name: string;
}

const pollMs = 1000;
/** Until the server has heard that a guest whose console closed has stopped. */
const settleMs = 5000;

export async function followInstallation(invocation: Invocation, vm: Named, options: FollowOptions): Promise<number> {
  const say = (text: string): void => {
    if (!options.isQuiet) invocation.print(`${text}\n`);
  };
  const { waitMinutes, isInstallation } = options;
  const hasConsole = options.consoleType === "text" && canAttach(invocation);
  if (hasConsole) {
    await attachConsole(invocation, vm);
    await stopped(invocation, vm, settleMs);
    if (options.endsWithConsole && (await runs(invocation, vm))) await power(invocation, vm, "vmForceOff");
  }
  let isOff = hasConsole && !(await runs(invocation, vm));
  if (!isOff && waitMinutes !== undefined) {
    say("\nDomain is still running. Installation may be in progress.");
    say(waitMinutes < 0 ? "Waiting for the installation to complete." : `Waiting ${waitMinutes} minutes for it.`);
    isOff = await stopped(invocation, vm, waitMinutes < 0 ? Number.POSITIVE_INFINITY : waitMinutes * 60_000);
    if (!isOff) throw tooLong(vm, waitMinutes);
    say("Domain has shutdown. Continuing.");
  }
  say(`Domain creation completed: ${vm.name}.`);
  if (isOff && options.restarts && !options.endsWithConsole) {
    say("Restarting guest.");
    await power(invocation, vm, "vmStart");
    if (hasConsole) await attachConsole(invocation, vm);
  } else if (isOff) say(`You can restart your domain by running:\n  inn vm start ${vm.name}`);
  else if (isInstallation) sayHowToGoOn(vm, say);
  return 0;
}

function canAttach(invocation: Invocation): boolean {
  const { inputIsTerminal, outputIsTerminal } = invocation.terminal;
  if (inputIsTerminal && outputIsTerminal) return true;
  invocation.remark("No terminal to connect the console to.\n");
  return false;
}

function sayHowToGoOn(vm: Named, say: (text: string) => void): void {
  say("The installation goes on: look at its screen with inn vm screenshot, or at its serial line with");
  say(`  inn vm console ${vm.name}`);
  say(`It ends powered off; start what was installed with inn vm start ${vm.name}.`);
}

function tooLong(vm: Named, minutes: number): Error {
  return tableError("timeout", `The installation of ${vm.name} has not ended within ${minutes} minutes; it goes on.`, {
    remedy: `Look at it with inn vm console ${vm.name}.`,
  });
}

async function get({ api }: Invocation, vm: Named): Promise<Vm> {
  return await api.call("vmGet", { parameters: { vmId: vm.id } });
}

async function runs(invocation: Invocation, vm: Named): Promise<boolean> {
  return isActive(await get(invocation, vm));
}

/** Whether the guest has stopped within that time. */
async function stopped(invocation: Invocation, vm: Named, withinMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + withinMs;
  while (await runs(invocation, vm)) {
    if (performance.now() > deadlineMs) return false;
    await delay(pollMs, undefined, { signal: invocation.signal });
  }
  return true;
}

async function power(invocation: Invocation, vm: Named, operation: "vmStart" | "vmForceOff"): Promise<void> {
  const { api } = invocation;
  requireSuccess(await watchTask(invocation, await api.call(operation, { parameters: { vmId: vm.id } })));
}
