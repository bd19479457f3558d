/**
 * The demo's guest as its steps see it: a shell through its serial console, the tasks of the API, the change log. One object
 * for the whole tour, as the console moves with the guest.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { Vm, VmChange } from "@innkeeper/contract/resource/vm.ts";
import { CliError } from "#cli-error.ts";
import type { Datacenter } from "#program/demo/datacenter.ts";
import { GuestConsole } from "#program/demo/guest-console.ts";
import type { DemoLayout } from "#program/demo/layout.ts";
import { requireSuccess, waitForTask } from "#task.ts";
import { watch } from "#watch.ts";

const taskTimeoutMs = 120_000;
export const guestName = "web";

export type SummaryRow = readonly [what: string, figure: string];

export class DemoGuest implements AsyncDisposable {
  readonly datacenter: Datacenter;
  readonly layout: DemoLayout;
  readonly signal: AbortSignal;
  /** Filled by the steps. */
  readonly summary: SummaryRow[] = [];
  /** Known once it is created. */
  vmId = "";
  #console: GuestConsole | undefined;

  constructor(datacenter: Datacenter, layout: DemoLayout, signal: AbortSignal) {
    this.datacenter = datacenter;
    this.layout = layout;
    this.signal = signal;
  }

  /** Changes the VM; resolves with it as it is then. */
  async change(body: VmChange): Promise<Vm> {
    const { api } = this.datacenter;
    const parameters = { vmId: this.vmId };
    await this.done(await api.call("vmChange", { parameters, body }));
    return await api.call("vmGet", { parameters });
  }

  /** The next number that the counter in the guest says aloud. */
  async counter(after = -1): Promise<number> {
    const console = this.shell();
    let from = console.text.length;
    for (;;) {
      const match = await console.expect("the guest's counter", /INNKEEPER-GUEST COUNTER (\d+)\r?\n/, 20_000, from);
      if (Number(match[1]) > after) return Number(match[1]);
      from += match.index + match[0].length;
    }
  }

  /** Waits for a task; throws unless it succeeded. */
  async done(task: Task): Promise<Task> {
    const { api } = this.datacenter;
    return requireSuccess(await waitForTask(api, task, { signal: this.signal, timeoutMs: taskTimeoutMs }));
  }

  /** Follows the change log until the VM is as wished. */
  async until(what: string, timeoutMs: number, wish: (vm: Vm) => boolean): Promise<Vm> {
    const { api } = this.datacenter;
    const vm = await api.call("vmGet", { parameters: { vmId: this.vmId } });
    if (wish(vm)) return vm;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([this.signal, deadline]);
    for await (const change of watch(api, { since: vm.revision, kinds: ["vm"], signal })) {
      if (change.id === this.vmId && change.operation === "put" && wish(change.resource as Vm))
        return change.resource as Vm;
    }
    this.signal.throwIfAborted();
    throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
  }

  /** The shell on its console. */
  shell(): GuestConsole {
    if (this.#console === undefined) throw new Error("the console is not open");
    return this.#console;
  }

  async openConsole(): Promise<GuestConsole> {
    const logFile = this.layout.consoleLog(guestName);
    this.#console = await GuestConsole.open(this.datacenter.api, { vmId: this.vmId, logFile, signal: this.signal });
    return this.#console;
  }

  /** As soon as there is one: what a guest says before anyone listens is lost. */
  async openConsoleEarly(): Promise<GuestConsole> {
    const deadlineMs = performance.now() + taskTimeoutMs;
    for (;;) {
      try {
        return await this.openConsole();
      } catch (error) {
        const early = error instanceof CliError && error.detail.code === "invalid_state";
        if (!early || performance.now() > deadlineMs) throw error;
      }
      await delay(50, undefined, { signal: this.signal });
    }
  }

  async closeConsole(): Promise<void> {
    await this.#console?.[Symbol.asyncDispose]();
    this.#console = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.closeConsole();
  }
}

export function durationOf(task: Task): number {
  return Date.parse(task.finishedAt ?? "") - Date.parse(task.startedAt ?? task.createdAt);
}
