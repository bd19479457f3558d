/**
 * Does and undoes single steps of a task: with the context that they get, tried again as often as their kind allows, and
 * only as long as this process may work.
 */
import type { TaskProgress, TaskState } from "@innkeeper/contract/resource/task.ts";
import type { Clock } from "#core/clock.ts";
import type { Logger } from "#core/log.ts";
import { attempt } from "#management/task/attempt.ts";
import type { DurationHistory } from "#management/task/duration-history.ts";
import type { HeldClaims } from "#management/task/held-claims.ts";
import type { TaskJournal } from "#management/task/journal.ts";
import type { Claims, Operation, Step, StepContext } from "#management/task/operation.ts";
import { isHostClaim } from "#management/task/resource-claim.ts";
import { brief, mustSucceed, once, resumed, type RetryPolicy } from "#management/task/retry.ts";
import { stepContext } from "#management/task/step-context.ts";
import { withHostLimits } from "#management/task/task-limit.ts";

export type StepPhase = "before" | "after" | "undo-before" | "undo-after";

/** A moment at which a test may end the process, or meddle with the hosts. */
export interface StepBoundary {
  readonly taskId: string;
  readonly operation: string;
  readonly step: string;
  readonly phase: StepPhase;
}

export interface StepDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly durations: DurationHistory;
  /** Asked before each try: aborts `stop` when this process may work no more. */
  readonly checkLead: () => void;
  readonly onStepBoundary?: (boundary: StepBoundary) => void | Promise<void>;
}

interface RunnerOptions {
  /** Aborts when the server stops. */
  readonly stop: AbortSignal;
  /** Aborts when the server stops, or the task is cancelled. */
  readonly cancelled: AbortSignal;
  /** A start took the task up, or a retry. */
  readonly resumed: boolean;
}

export class StepRunner {
  held: HeldClaims | undefined;
  readonly #deps: StepDeps;
  readonly #operation: Operation;
  readonly #journal: TaskJournal;
  readonly #options: RunnerOptions;

  constructor(deps: StepDeps, operation: Operation, journal: TaskJournal, options: RunnerOptions) {
    this.#deps = deps;
    this.#operation = operation;
    this.#journal = journal;
    this.#options = options;
  }

  /** The step's result. `isFinal`: it can't be undone any more, so neither is it cancelled. */
  async do(step: Step<unknown>, { repeated, isFinal }: { readonly repeated: boolean; readonly isFinal: boolean }) {
    const { clock } = this.#deps;
    const { stop, cancelled } = this.#options;
    const { cursor } = this.#journal.record;
    const startMs = clock.monotonicMs();
    const signal = isFinal ? stop : cancelled;
    return this.#try(step, this.#policy(step, isFinal), signal, async (tries) => {
      const { context, end } = stepContext({
        ...this.#contextDeps(step),
        signal,
        repeated: repeated || tries > 1,
        remainingMs: (progress) => this.remainingMs(cursor, clock.monotonicMs() - startMs, progress),
      });
      try {
        await this.boundary(step, "before");
        const result = await step.do(context);
        await this.boundary(step, "after");
        return result;
      } finally {
        end();
      }
    });
  }

  /** Answers what it left to others. */
  async undo(step: Step<unknown>): Promise<string | undefined> {
    const { stop: signal } = this.#options;
    return this.#try(step, mustSucceed, signal, async () => {
      const deps = this.#contextDeps(step);
      const { context, end } = stepContext({ ...deps, signal, repeated: true, remainingMs: () => undefined });
      try {
        await this.boundary(step, "undo-before");
        const left = await step.undo?.(context);
        await this.boundary(step, "undo-after");
        return left ?? undefined;
      } finally {
        end();
      }
    });
  }

  /** For what is asked of an operation between its steps. */
  idleContext(step?: Step<unknown>): StepContext<unknown> {
    const deps = this.#contextDeps(step);
    const idle = { signal: this.#options.stop, repeated: false, remainingMs: () => undefined };
    return stepContext({ ...deps, ...idle }).context;
  }

  remainingMs(cursor: number, elapsedMs: number, progress?: TaskProgress): number | undefined {
    const left = this.#operation.steps.slice(cursor).map((step) => step.name);
    return this.#deps.durations.remainingMs(this.#operation.name, left, elapsedMs, progress);
  }

  async boundary(step: Step<unknown>, phase: StepPhase): Promise<void> {
    const { id: taskId, operation } = this.#journal.task;
    await this.#deps.onStepBoundary?.({ taskId, operation, step: step.name, phase });
  }

  #policy(step: Step<unknown>, isFinal: boolean): RetryPolicy {
    if (isFinal) return step.isBrief === true ? brief : mustSucceed;
    return this.#options.resumed ? resumed : once;
  }

  #try<T>(step: Step<unknown>, policy: RetryPolicy, signal: AbortSignal, work: (tries: number) => Promise<T>) {
    return attempt(this.#deps, { step, journal: this.#journal, policy, signal, held: this.held }, work);
  }

  #contextDeps(step: Step<unknown> | undefined) {
    const { clock, log } = this.#deps;
    return {
      journal: this.#journal,
      clock,
      log: log.child({ taskId: this.#journal.task.id, ...(step && { step: step.name }) }),
      claim: (claims: Claims) => this.#claim(claims),
      untilFree: (keys: readonly string[]) => this.#untilFree(keys),
    };
  }

  async #claim(claims: Claims): Promise<boolean> {
    const held = this.#claimant();
    const chosen = withHostLimits(this.#operation.name, claims);
    const onWait = this.#tellWaiting("waiting for its turn on the host and the pools that it chose");
    const isFree = await held.choose(chosen, this.#options.cancelled, onWait);
    this.#journal.advance({}, { chosen: held.chosen });
    if (!isFree) await this.#tellRunning();
    return isFree;
  }

  async #untilFree(keys: readonly string[]): Promise<boolean> {
    const held = this.#claimant();
    // The host that it was asked for it has: nobody else connects that one anew.
    if ([...held.own.exclusive, ...(held.own.shared ?? [])].some(isHostClaim)) return false;
    const onWait = this.#tellWaiting("waiting for hosts that are being connected anew or removed");
    const hasWaited = await held.untilFree(keys, this.#options.cancelled, onWait);
    this.#journal.advance({}, { chosen: held.chosen });
    if (hasWaited) await this.#tellRunning();
    return hasWaited;
  }

  #claimant(): HeldClaims {
    const { cursor, direction } = this.#journal.record;
    if (this.held === undefined || cursor > 0 || direction === "undo") throw new Error("only a first step claims");
    return this.held;
  }

  /** While it waits it holds nothing: after a restart it comes after those that did. */
  #tellWaiting(message: string): () => Promise<void> {
    return () => this.#tell({ state: "queued", message });
  }

  #tellRunning(): Promise<void> {
    const { state, message } = this.#journal.task;
    return this.#tell({ state, message });
  }

  async #tell(progress: { readonly state: TaskState; readonly message: string }): Promise<void> {
    await this.#journal
      .saveProgress(progress)
      .catch((error: unknown) => this.#deps.log.warn({ err: error }, "progress could not be stored"));
  }
}
