/**
 * One run of a cmdlet: its parameters, the API, and how PowerShell treats objects: each is confirmed, done, and its errors are
 * told while the others go on (-WhatIf, -Confirm, -ErrorAction, -RunAsync mean the same in every cmdlet).
 */
import type { Task } from "@innkeeper/contract/resource/task.ts";
import type { ApiClient } from "#client.ts";
import { CliError, errorDocument, errorText, usageError } from "#cli-error.ts";
import type { Invocation } from "#invocation.ts";
import { listAll } from "#list.ts";
import { lookup, type LookupNoun, type ResourceOf } from "#lookup.ts";
import type { Bound } from "#powercli/bind.ts";
import type { Signature } from "#powercli/signature.ts";
import { Confirmation } from "#powercli/confirmation.ts";
import type { ObjectKind, ObjectWriter } from "#powercli/object-writer.ts";
import { taskKind, taskObject } from "#powercli/object/task.ts";
import { pipedReferences, type Reference } from "#powercli/pipeline.ts";
import { idOf, select } from "#powercli/select.ts";
import { requireSuccess, waitForTask, watchTask } from "#task.ts";

/** What is done to one object. */
export interface Work {
  /** `Power off VM`, for -WhatIf and -Confirm. */
  readonly action: string;
  readonly target: string;
  readonly start: () => Promise<Task>;
  /** Prints what came of it; may be absent, as for what is gone. */
  readonly done?: (task: Task) => Promise<void>;
}

export class CmdletRun {
  readonly cmdlet: Signature;
  readonly bound: Bound;
  readonly invocation: Invocation;
  /** The errors so far, each told already. */
  readonly failures: CliError[] = [];
  readonly #writer: ObjectWriter;
  readonly #confirmation: Confirmation;
  #piped: Promise<Reference[]> | undefined;

  constructor(cmdlet: Signature, bound: Bound, invocation: Invocation, writer: ObjectWriter) {
    this.cmdlet = cmdlet;
    this.bound = bound;
    this.invocation = invocation;
    this.#writer = writer;
    this.#confirmation = new Confirmation(cmdlet, bound, invocation);
  }

  get api(): ApiClient {
    return this.invocation.api;
  }

  write<T extends { readonly Name: string }>(kind: ObjectKind<T>, object: T): void {
    this.#writer.write(kind, object);
  }

  warn(text: string): void {
    const action = this.bound.text("WarningAction") ?? "Continue";
    if (action === "Continue") this.invocation.remark(`WARNING: ${text}\n`);
  }

  /** Names as typed, or the objects on standard input where the parameter needs them. */
  async references(parameter: string): Promise<readonly Reference[]> {
    const texts = this.bound.has(parameter) ? this.#typed(parameter) : undefined;
    if (texts !== undefined && !(texts.length === 1 && texts[0] === "-")) {
      return texts.map((text) => ({ text, literal: false }));
    }
    const { terminal, signal } = this.invocation;
    if (terminal.inputIsTerminal) {
      throw usageError(
        `${this.cmdlet.name} needs -${parameter}`,
        `Name it, or pipe objects into it: inn Get-… | inn ${this.cmdlet.name}.`,
      );
    }
    this.#piped ??= pipedReferences(terminal.input, signal);
    return await this.#piped;
  }

  /** The resources that a parameter means. */
  async chosen<N extends LookupNoun>(parameter: string, noun: N): Promise<ResourceOf<N>[]> {
    return await select(this.api, noun, await this.references(parameter), { parameter: `-${parameter}` });
  }

  /** Those that -Name and -Id mean, each once; of neither all of them, by name. */
  async listed<N extends "cluster" | "host" | "vm">(noun: N): Promise<ResourceOf<N>[]> {
    const parameters = ["Name", "Id"].filter((parameter) => this.bound.has(parameter));
    if (parameters.length === 0) {
      const { items } = await listAll(this.api, lookup[noun].list, { sort: "name" });
      return [...items] as unknown as ResourceOf<N>[];
    }
    const chosen = new Map<string, ResourceOf<N>>();
    for (const parameter of parameters) {
      const wish = { parameter: `-${parameter}`, mayBeNone: true };
      for (const reference of await this.references(parameter)) {
        await this.attempt(async () => {
          for (const each of await select(this.api, noun, [reference], wish)) chosen.set(idOf(each), each);
        });
      }
    }
    return [...chosen.values()];
  }

  /** Does one thing; its error is told, and the next is done unless -ErrorAction Stop. */
  async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      const told = this.#inTheirWords(error);
      this.failures.push(told);
      this.#tell(told);
      if (this.bound.text("ErrorAction") === "Stop") throw new StoppedError();
    }
  }

  /** Whether it is to be done: false for -WhatIf, and when the user says no. */
  async agreed(action: string, target: string): Promise<boolean> {
    return await this.#confirmation.agreed(action, target);
  }

  /** All are asked for first, then each is waited for, as they run at the same time. */
  async perform(works: readonly Work[]): Promise<void> {
    const agreed: Work[] = [];
    for (const work of works) if (await this.agreed(work.action, work.target)) agreed.push(work);
    const started: { readonly work: Work; readonly task: Task }[] = [];
    for (const work of agreed) {
      await this.attempt(async () => void started.push({ work, task: await work.start() }));
    }
    const isAsync = this.bound.flag("RunAsync") === true;
    for (const { work, task } of started) {
      await this.attempt(async () => {
        if (this.bound.flag("Verbose") === true) this.invocation.remark(`VERBOSE: ${task.id} ${task.operation}\n`);
        if (isAsync) this.write(taskKind, taskObject(task));
        else await this.#end(work, task);
      });
    }
  }

  /** Waits for a task, with its progress on standard error. */
  async finished(task: Task): Promise<Task> {
    const isQuiet = (this.bound.text("ProgressAction") ?? "Continue") !== "Continue";
    const { signal } = this.invocation;
    return requireSuccess(
      isQuiet ? await waitForTask(this.api, task, { signal }) : await watchTask(this.invocation, task),
    );
  }

  async #end(work: Work, task: Task): Promise<void> {
    const ended = await this.finished(task);
    await work.done?.(ended);
  }

  #typed(parameter: string): readonly string[] {
    const text = this.bound.text(parameter);
    return text === undefined ? this.bound.texts(parameter) : [text];
  }

  #inTheirWords(error: CliError): CliError {
    const { field } = error.detail;
    const names = this.cmdlet.parameterOfField;
    if (field === undefined || names === undefined || field.startsWith("-")) return error;
    const path = field.replace(/^request\./, "").replaceAll(/(\[\d+\]|\.\d+)/g, "");
    for (let prefix = path; prefix !== ""; prefix = prefix.slice(0, Math.max(0, prefix.lastIndexOf(".")))) {
      const name = names[prefix];
      if (name !== undefined) return error.withOption(`-${name}`);
    }
    return error;
  }

  #tell(error: CliError): void {
    const action = this.bound.text("ErrorAction") ?? "Continue";
    if (action === "SilentlyContinue" || action === "Ignore") return;
    const isJson = this.invocation.format === "json";
    this.invocation.remark(isJson ? `${JSON.stringify(errorDocument(error), undefined, 2)}\n` : errorText(error));
  }
}

/** Ends the cmdlet after an error that was told. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
}
