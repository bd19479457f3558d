/**
 * Runs one task: its steps forward, or, after a failure or a cancellation, backward. The journal is written before each
 * step begins and after it ends, so a crash at any instant leaves a task that the next start takes up where it was.
 * When the server stops, a run ends without a word in the journal: that is the same as a crash.
 */
import type { Problem } from "@innkeeper/contract/problem.ts";
import type { TaskStep, TaskStepState } from "@innkeeper/contract/resource/task.ts";
import { AppError, toProblem } from "#core/app-error.ts";
import { timestamp } from "#core/clock.ts";
import { words } from "#management/task/attempt.ts";
import type { HeldClaims } from "#management/task/held-claims.ts";
import { type JournalChange, type TaskJournal, TaskParkedError, type TaskRecord } from "#management/task/journal.ts";
import type { Operation, Step } from "#management/task/operation.ts";
import { type StepDeps, StepRunner } from "#management/task/step-runner.ts";
import {
  cancelledProblem,
  leftBehindProblem,
  stepProblem,
  unfinishedProblem,
  withLeft,
} from "#management/task/task-problem.ts";
import type { StoreTransaction } from "#store/port.ts";
import { taskEvent } from "#management/task/task-event.ts";

type TaskEnd = NonNullable<TaskRecord["end"]>;

export class TaskRun {
  readonly #deps: StepDeps;
  readonly #operation: Operation;
  readonly #journal: TaskJournal;
  /** Aborts when the server stops. */
  readonly #stop: AbortSignal;
  readonly #cancel = new AbortController();
  readonly #taken = new Map<string, number>();
  readonly #runner: StepRunner;
  /** The write that ends it, once it has come to its end: what it says is decided once. */
  #ending: (() => Promise<void>) | undefined;

  constructor(
    deps: StepDeps,
    operation: Operation,
    journal: TaskJournal,
    options: { readonly stop: AbortSignal; readonly resumed: boolean },
  ) {
    this.#deps = deps;
    this.#operation = operation;
    this.#journal = journal;
    this.#stop = options.stop;
    this.#runner = new StepRunner(deps, operation, journal, { ...options, cancelled: this.waitSignal });
    if (journal.task.cancelRequested) this.#cancel.abort();
  }

  get journal(): TaskJournal {
    return this.#journal;
  }

  /** Aborts while it waits for its turn, when the task is cancelled or the server stops. */
  get waitSignal(): AbortSignal {
    return AbortSignal.any([this.#stop, this.#cancel.signal]);
  }

  /** Whether cancelling still has a meaning: not once a point of no return has begun. */
  get canCancel(): boolean {
    return this.#journal.record.direction === "do" && !this.#irreversible();
  }

  async cancel(): Promise<void> {
    await this.#journal.save({ task: { cancelRequested: true } }, this.#stop);
    this.#cancel.abort();
  }

  /** Ends a task that has not begun. */
  async endUnstarted(): Promise<void> {
    if (this.#stop.aborted) return;
    await this.#finish("cancelled", cancelledProblem());
  }

  /**
   * Resolves when the task has ended, or when the server stops. Throws for what is no step's failure, such as a store that
   * can't be written; called again, it goes on where it was.
   */
  async run(held: HeldClaims): Promise<void> {
    this.#runner.held = held;
    try {
      if (this.#ending !== undefined) return await this.#ending();
      if (this.#journal.record.direction === "do" && !(await this.#forward())) return;
      if (this.#journal.record.direction === "undo") await this.#backward();
    } catch (error) {
      if (this.#stop.aborted || error instanceof TaskParkedError) return;
      throw error;
    }
  }

  /** Does the steps that are left. True when it has ended, or turned to undo; false when the server stops. */
  async #forward(): Promise<boolean> {
    const { steps } = this.#operation;
    for (;;) {
      const { cursor } = this.#journal.record;
      const step = steps[cursor];
      if (this.#stop.aborted) return false;
      if (step === undefined) {
        await this.#succeed();
        return true;
      }
      if (this.#cancel.signal.aborted && !this.#irreversible()) {
        await this.#turn(cancelledProblem(), "cancelled");
        return true;
      }
      const repeated = this.#journal.record.begun;
      try {
        if (!repeated && step.isNeedless?.(this.#runner.idleContext(step)) === true) {
          await this.#skip(step, cursor);
          continue;
        }
      } catch (error) {
        return await this.#stepFailed(step, error);
      }
      await this.#begin(step, cursor);
      try {
        await this.#do(step, cursor, repeated);
      } catch (error) {
        if (this.#stop.aborted) return false;
        return await this.#stepFailed(step, error);
      }
    }
  }

  async #skip(step: Step<unknown>, cursor: number): Promise<void> {
    await this.#runner.boundary(step, "before");
    await this.#runner.boundary(step, "after");
    this.#journal.advance({ steps: this.#steps(cursor, "done") }, { cursor: cursor + 1 });
  }

  async #begin(step: Step<unknown>, cursor: number): Promise<void> {
    const first = this.#journal.task.startedAt === undefined;
    const remainingMs = this.#runner.remainingMs(cursor, 0);
    await this.#journal.save(
      {
        task: {
          state: "running",
          steps: this.#steps(cursor, "running"),
          progress: { done: cursor, total: this.#operation.steps.length, unit: "step" },
          message: words(step),
          ...(first ? { startedAt: this.#now() } : {}),
          ...(remainingMs === undefined ? {} : { estimatedRemainingMs: remainingMs }),
        },
        record: { cursor, begun: true },
      },
      this.#stop,
      async (transaction) => {
        if (first) await transaction.put("event", taskEvent(this.#deps.clock, this.#journal.task, "started"));
      },
    );
  }

  async #do(step: Step<unknown>, cursor: number, repeated: boolean): Promise<void> {
    const startMs = this.#deps.clock.monotonicMs();
    const result = await this.#runner.do(step, { repeated, isFinal: this.#irreversible() });
    this.#taken.set(step.name, this.#deps.clock.monotonicMs() - startMs);
    const { results } = this.#journal.record;
    this.#journal.advance(
      { steps: this.#steps(cursor, "done") },
      {
        cursor: cursor + 1,
        begun: false,
        // As it will be read after a crash.
        results: result === undefined ? results : { ...results, [step.name]: JSON.parse(JSON.stringify(result)) },
      },
    );
  }

  async #stepFailed(step: Step<unknown>, error: unknown): Promise<true> {
    const { cursor } = this.#journal.record;
    const irreversible = this.#irreversible() && !this.#isRefused(error);
    if (this.#cancel.signal.aborted && !irreversible) {
      await this.#turn(cancelledProblem(), "cancelled");
      return true;
    }
    this.#deps.log.warn({ err: error, taskId: this.#journal.task.id, step: step.name }, "a step failed");
    if (irreversible) {
      const left = this.#operation.steps.slice(cursor).map((each) => each.name);
      await this.#leave(unfinishedProblem(error, left, cursor > 0), left);
    } else {
      await this.#turn(stepProblem(error, step.name), "failed");
    }
    return true;
  }

  /** The first step that can't be undone said that it did nothing. */
  #isRefused(error: unknown): boolean {
    const { cursor } = this.#journal.record;
    const point = this.#operation.steps.findIndex((step) => step.pointOfNoReturn === true);
    return cursor === point && error instanceof AppError && error.nothingDone;
  }

  /** From here on it only goes backward. */
  async #turn(error: Problem, state: "failed" | "cancelled"): Promise<void> {
    const { cursor, begun } = this.#journal.record;
    const steps = begun ? this.#steps(cursor, "failed") : this.#journal.task.steps;
    await this.#journal.save(
      {
        task: { state: "rolling-back", message: `undoing: ${error.detail ?? error.title}`, steps, error },
        record: { direction: "undo", cursor: begun ? cursor : cursor - 1, begun: false, end: { state, error } },
      },
      this.#stop,
    );
  }

  async #backward(): Promise<void> {
    for (;;) {
      const end = (this.#journal.record.end ?? { state: "failed", error: toProblem(undefined) }) satisfies TaskEnd;
      const { cursor } = this.#journal.record;
      if (this.#stop.aborted) return;
      const step = this.#operation.steps[cursor];
      if (step === undefined) {
        if (end.state === "succeeded") await this.#succeed({ undone: this.#undone() });
        else await this.#finish(end.state, end.error);
        return;
      }
      if (step.undo !== undefined && !(await this.#undo(step, cursor, end))) return;
      this.#journal.advance({}, { cursor: cursor - 1 });
    }
  }

  /** False when it can't be undone, and the task has ended with that; or when the server stops. */
  async #undo(step: Step<unknown>, cursor: number, end: TaskEnd): Promise<boolean> {
    await this.#journal.save(
      { task: { steps: this.#steps(cursor, "undoing"), message: `undoing: ${words(step)}` }, record: { cursor } },
      this.#stop,
    );
    try {
      const left = await this.#runner.undo(step);
      const error = left === undefined ? end.error : withLeft(end.error, left);
      const task = left === undefined ? {} : { error };
      this.#journal.advance({ ...task, steps: this.#steps(cursor, "undone") }, { end: { ...end, error } });
      return true;
    } catch (error) {
      if (this.#stop.aborted) return false;
      this.#deps.log.error({ err: error, taskId: this.#journal.task.id, step: step.name }, "a step can't be undone");
      const left = this.#operation.steps.slice(0, cursor + 1).flatMap((each) => (each.undo ? [each.name] : []));
      await this.#leave(leftBehindProblem(end.error, error, left, this.#journal.record.results), left);
      return false;
    }
  }

  #undone(): string[] {
    return this.#journal.task.steps.flatMap(({ name, state }) => (state === "undone" ? [name] : []));
  }

  async #succeed(result = this.#outcome()): Promise<void> {
    const { task } = this.#journal;
    const total = this.#operation.steps.length;
    const change = {
      message: "",
      finishedAt: this.#now(),
      progress: { done: total, total, unit: "step" },
      estimatedRemainingMs: 0,
      ...(result === undefined ? {} : { result }),
    } as const;
    await this.#end("succeeded", { task: change, record: { input: undefined, results: {} } }, (transaction) =>
      this.#deps.durations.record(transaction, task.operation, this.#taken),
    );
  }

  async #end(
    state: TaskEnd["state"],
    { task, record = {} }: JournalChange,
    also: (transaction: StoreTransaction) => Promise<void> = async () => {},
  ): Promise<void> {
    this.#ending = () =>
      this.#journal.save({ task: { ...task, state }, record }, this.#stop, async (transaction) => {
        await also(transaction);
        await transaction.put("event", taskEvent(this.#deps.clock, this.#journal.task, state));
      });
    await this.#ending();
  }

  /** All steps are done, so a fault in the summary of their results doesn't make the task fail. */
  #outcome(): Readonly<Record<string, unknown>> | undefined {
    try {
      return this.#operation.outcome?.(this.#runner.idleContext());
    } catch (error) {
      this.#deps.log.error({ err: error, operation: this.#operation.name }, "the outcome of a task is faulty");
      return undefined;
    }
  }

  /** Fails with `left` half-done; what a retry needs to go on with it is kept. */
  async #leave(error: Problem, left: string[]): Promise<void> {
    const steps = this.#steps(this.#journal.record.cursor, "failed");
    await this.#finish("failed", error, { task: { steps, unfinished: left }, record: {} });
  }

  async #finish(
    state: "failed" | "cancelled",
    error: Problem,
    { task, record }: JournalChange = { task: {}, record: { input: undefined, results: {} } },
  ): Promise<void> {
    const change = { error, message: "", finishedAt: this.#now(), estimatedRemainingMs: 0, ...task };
    await this.#end(state, { task: change, record: record ?? {} });
  }

  #irreversible(): boolean {
    const { cursor, begun } = this.#journal.record;
    const point = this.#operation.steps.findIndex((step) => step.pointOfNoReturn === true);
    return point !== -1 && (cursor > point || (cursor === point && begun));
  }

  #steps(index: number, state: TaskStepState): TaskStep[] {
    const now = this.#now();
    return this.#journal.task.steps.map((step, position) => {
      if (position !== index) return step;
      const times = state === "running" ? { startedAt: step.startedAt ?? now } : { finishedAt: now };
      return { ...step, state, ...times };
    });
  }

  #now(): string {
    return timestamp(this.#deps.clock);
  }
}
