/**
 * Operations: what a task runs. An operation is a list of named steps, each with `do` and `undo`, both idempotent: after
 * a crash the step whose `do` had begun is done again, or undone, without knowing how far it got. The cursor and each
 * step's result are stored before the next begins, so a step finds in `results` what the steps before it decided
 * (ids, names, paths are chosen in a first step and thereby survive a crash).
 */
import type { Static, TSchema } from "typebox";
import type { ResourceRef, TaskProgress } from "@innkeeper/contract/resource/task.ts";
import type { Logger } from "#core/log.ts";

/** JSON-safe data that is stored with the task. */
type StepResult = Readonly<Record<string, unknown>> | undefined;

export interface StepContext<Input> {
  readonly taskId: string;
  readonly input: Input;
  readonly userName: string;
  /** What the task is about; of something new, with the id that it is to get. */
  readonly target: ResourceRef | undefined;
  /** An earlier attempt at this step may have run, before a crash or an error that passed, and may have left something. */
  readonly repeated: boolean;
  /** Aborts when the task is cancelled or the server stops. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Result that an earlier step stored; throws if that step has none. */
  result<T = Record<string, unknown>>(step: string): T;
  /** The same for undo, where the step may have crashed before it stored one. */
  resultIfAny<T = Record<string, unknown>>(step: string): T | undefined;
  /**
   * In the first step: claims what it chose, instead of what it chose before, to have it until the task ends. True if it
   * was free; false if it had to be waited for, while the task held nothing: then what was chosen must be chosen anew
   * (claimed-plan.ts).
   */
  claim(claims: Claims): Promise<boolean>;
  /**
   * In the first step: waits, holding nothing, while others have one of these for themselves. False if nobody has, or if
   * the task was asked for one host and so has that already.
   */
  untilFree(keys: readonly string[]): Promise<boolean>;
  /**
   * Stores something at once, before the step goes on, for what its end would be too late: later steps, another attempt
   * and the undo find it as the result of this name, whatever crashes.
   */
  keep(name: string, result: NonNullable<StepResult>): Promise<void>;
  /** Progress within the step and what it does in the user's words; throttled. */
  progress(progress: TaskProgress, message?: string): void;
}

export interface Step<Input> {
  readonly name: string;
  do(context: StepContext<Input>): Promise<StepResult | void>;
  /**
   * Whether there is nothing to do: the task then goes on without a word in its journal, until the next step is stored;
   * after a crash before that it is asked again. Absent: there always is.
   */
  isNeedless?(context: Pick<StepContext<Input>, "input" | "result">): boolean;
  /** Absent: there is nothing to undo. May answer, in the user's words, what it left as it is because it is others'. */
  undo?(context: StepContext<Input>): Promise<string | void>;
  /**
   * After this step has begun the task can't be cancelled nor undone, only finished: it is repeated until it succeeds or
   * fails for good. One exception: an error that says `nothingDone`, which only an attempt that is the first may do.
   */
  readonly pointOfNoReturn?: boolean;
  /** Of a point of no return that people wait for, and may ask for again: a host that is gone is waited for half a minute, not 25, also after a start and when it is tried again. */
  readonly isBrief?: boolean;
}

/**
 * Resources that tasks serialize on, e.g. `vm:vm-3k9…`; and limits, e.g. `{ key: "migration:host-…", max: 2 }`.
 * What a task merely needs to stay as it is, it claims shared; see resource-claim.ts for what is claimed by itself.
 */
export interface Claims {
  readonly exclusive: readonly string[];
  readonly shared?: readonly string[];
  readonly limited?: readonly Limit[];
}

export interface Limit {
  readonly key: string;
  readonly max: number;
  /** Who waits to try a step again, as for a host that is gone, does not count meanwhile, and waits for a place before it does. */
  readonly onlyAtWork?: true;
}

export interface Operation<S extends TSchema = TSchema> {
  /** `<noun>.<verb>`, also the audit action. */
  readonly name: string;
  /** Of the task's stored input. */
  readonly input: S;
  /** Refuses what can't work, before a task is recorded and before anything is touched. */
  check?(input: Static<S>): Promise<void> | void;
  claims(input: Static<S>): Claims;
  /** Asked once. Of something that is yet to be made, with a new id, which the steps find in their context. */
  target(input: Static<S>): ResourceRef | undefined;
  readonly steps: readonly Step<Static<S>>[];
  /** The task's result, from the steps' results. */
  outcome?(
    context: Pick<StepContext<Static<S>>, "input" | "result" | "resultIfAny">,
  ): Readonly<Record<string, unknown>> | undefined;
}

/** Keeps the input's type through the steps. */
export function operation<S extends TSchema>(definition: Operation<S>): Operation<S> {
  return definition;
}
